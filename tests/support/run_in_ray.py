"""Run functions in a Ray of their own, as they are asked for: ``run_in_ray.py MODULE FOLDER``.

Ray reads its settings when it is imported, so this is a process of its own. The names of functions
come on the standard input; each is called with a folder, and answered with "" or a traceback.
"""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path

from cluster.load_job import load_job
from cluster.own_ray import own_ray
from cluster.ray_session import ray_environment


def main(module: str, folder: Path) -> None:
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever Ray prints
    with ray_environment(load_job(None)), own_ray():
        functions = importlib.import_module(module)
        for number, name in enumerate(map(str.strip, sys.stdin)):
            answer = ""
            try:
                getattr(functions, name)(folder / str(number))
            except Exception:
                answer = traceback.format_exc()
            os.write(answers, (json.dumps(answer) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
