import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from cluster.session_folder import SessionFolder

HOLDER = """
import time
from cluster.session_folder import SessionFolder
folder = SessionFolder()
print(folder.path, flush=True)
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


def test_it_goes_when_its_process_is_killed():
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    with holder:
        path = Path(holder.stdout.readline().strip())
        assert path.is_dir()
        holder.send_signal(signal.SIGKILL)
    deadline_s = time.monotonic() + 300
    while path.exists() and time.monotonic() < deadline_s:
        threading.Event().wait(0.05)

    assert not path.exists()
