"""What surrounds the stage of one workflow job: its log file, its threads, and who tells when it is killed."""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from handloom.runtime.errors import InputError, OutputError, StoppedError

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
    What ends a stage ends the log: an error that tells a user what to do by its words alone, any other, which goes on
    to the caller, by its traceback.
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
        except (InputError, OutputError, StoppedError) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            raise SystemExit(1) from None
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


@contextmanager
def told_when_killed(rule: str, mem_mb: object) -> Iterator[None]:
    """Run the block, and all that comes after it, in a child process; this one waits, and ends as the child does.

    A child that is killed cannot say so: this process does, on stderr, with the memory that the job asked for. Signals
    to stop are passed on. Begin it before libraries with threads are imported.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent, stops = os.getpid(), (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)  # one that comes before the handlers stand waits for them
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
        _end_with(parent)
        yield
        return
    for each in stops:
        signal.signal(each, lambda number, _: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        print(_killed(rule, signal.Signals(-code), mem_mb), file=sys.stderr, flush=True)
    os._exit(code if code >= 0 else 128 - code)  # not through the blocks around: the log is the child's


def _killed(rule: str, by: signal.Signals, mem_mb: object) -> str:
    told = f"{rule}: the job was killed by {by.name}"
    if by != signal.SIGKILL:
        return told
    more = 2 * mem_mb if isinstance(mem_mb, int) else "MEGABYTES"
    return (
        f"{told}, most likely because memory ran out; it had asked for mem_mb={mem_mb}; give it more with "
        f"--set-resources {rule}:mem_mb={more} on a cluster, or run fewer jobs at once (--cores) on this machine"
    )


def _end_with(parent: int) -> None:
    """Have Linux kill this process when its parent ends, so that no stage goes on that nobody waits for."""
    kill_me = 1  # PR_SET_PDEATHSIG
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(kill_me, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
