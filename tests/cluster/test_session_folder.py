import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from cluster.session_folder import SessionFolder

PATIENCE_S = 300
HOLDER = """
import os, subprocess, time
from cluster.session_folder import SessionFolder
folder = SessionFolder()
child = subprocess.Popen(["sleep", "600"], env=os.environ | folder.environment)
print(folder.path, child.pid, flush=True)
time.sleep(600)
"""


def test_it_goes_when_it_is_closed():
    folder = SessionFolder()
    (Path(folder.path) / "file").write_text("x")
    folder.close()

    assert not Path(folder.path).exists()


def test_it_stays_when_it_is_kept():
    folder = SessionFolder()
    folder.keep()
    folder.close()

    os.rmdir(folder.path)


@pytest.mark.cpu_heavy
def test_it_and_what_it_marks_go_when_its_process_is_killed():
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    with holder:
        words = holder.stdout.readline().split()
        path, child = Path(words[0]), psutil.Process(int(words[1]))
        assert path.is_dir()
        holder.send_signal(signal.SIGKILL)
    assert not psutil.wait_procs([child], timeout=PATIENCE_S)[1]
    deadline_s = time.monotonic() + PATIENCE_S
    while path.exists() and time.monotonic() < deadline_s:
        threading.Event().wait(0.05)

    assert not path.exists()
