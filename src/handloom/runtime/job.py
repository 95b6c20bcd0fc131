"""What surrounds the stage of one workflow job: its log file and its threads."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
"""Threads that wait sleep: where other jobs share the cores, those that spin make a training many times slower."""


def hand_down_source(source: Path) -> None:
    """Let the jobs of this process, in whatever environment they run, import the package from the folder `source`."""
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(source), *(path for path in inherited if path not in ("", str(source)))]
    )


@contextmanager
def logged_job(log: Path | str, threads: int) -> Iterator[None]:
    """Send stdout and stderr of the block to the file `log`, and let numerical libraries use so many threads.

    The libraries read their limit when they are imported, so import them (and the stage) inside the block.
    A failing stage's traceback ends the log; the error goes on to the caller.
    """
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    os.environ.update({name: os.environ.get(name, value) for name, value in _WAITING.items()})
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with Path(log).open("w", buffering=1, encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            os.close(kept[0])
            os.close(kept[1])
