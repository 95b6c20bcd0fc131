"""What surrounds a job's stage: its log gets everything, errors go on, the source folder is handed down once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from handloom.runtime.job import hand_down_source, logged_job


def run(program: str, log: Path) -> subprocess.CompletedProcess[str]:
    imports = "import os, signal, sys; from handloom.runtime.job import logged_job, told_when_killed\n"
    command = [sys.executable, "-c", imports + program, str(log)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_log_gets_both_streams_of_python_and_of_other_programs(tmp_path: Path) -> None:
    log = tmp_path / "new" / "a.log"
    ended = run(
        "import subprocess\n"
        "print('before')\n"
        "with logged_job(sys.argv[1], threads=1):\n"
        "    print('one'); print('two', file=sys.stderr); subprocess.run(['echo', 'three'], check=True)\n"
        "print('after')\n",
        log,
    )
    assert ended.stdout == "before\nafter\n"
    assert sorted(log.read_text().split()) == ["one", "three", "two"]


def test_an_error_ends_the_log_and_the_job(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    ended = run("with logged_job(sys.argv[1], threads=1):\n    raise ValueError('too small')\n", log)
    assert ended.returncode != 0
    assert "ValueError: too small" in log.read_text()
    assert "Traceback" in log.read_text()


def test_what_tells_a_user_what_to_do_is_told_alone(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    program = (
        "from handloom.runtime.errors import InputError\n"
        "with logged_job(sys.argv[1], threads=1):\n    raise InputError('a.png: is empty; make it again')\n"
    )
    ended = run(program, log)
    assert ended.returncode == 1
    assert log.read_text() == "InputError: a.png: is empty; make it again\n"
    assert ended.stdout + ended.stderr == ""


def test_the_libraries_get_the_job_s_threads(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    run("with logged_job(sys.argv[1], threads=1):\n    import torch; print(torch.get_num_threads())\n", log)
    assert log.read_text() == "1\n"


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), logged_job(tmp_path / "file" / "a.log", threads=1):
        pass


def test_the_source_comes_first_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/other")
    hand_down_source(tmp_path)
    hand_down_source(tmp_path)
    assert os.environ["PYTHONPATH"] == f"{tmp_path}:/other"


def test_waiting_threads_sleep_unless_the_user_says_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects jobs that share their cores from threads that spin."""
    program = "import os\nwith logged_job(sys.argv[1], threads=2):\n    print(os.environ['OMP_WAIT_POLICY'])\n"
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    for name, expected in (("a", "PASSIVE"), ("b", "active")):
        assert run(program, tmp_path / name).returncode == 0
        assert (tmp_path / name).read_text().strip() == expected
        monkeypatch.setenv("OMP_WAIT_POLICY", "active")


def watched(program: str, log: Path) -> subprocess.CompletedProcess[str]:
    """A job whose stage is the program."""
    return run(f"with logged_job(sys.argv[1], 1), told_when_killed('train', 4000):\n    {program}\n", log)


def test_a_job_killed_for_memory_is_told_with_what_it_asked_for_and_how_to_give_more(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    ended = watched("print('training'); os.kill(os.getpid(), signal.SIGKILL)", log)
    assert ended.returncode == 128 + signal.SIGKILL
    first, told = log.read_text().splitlines()
    assert first == "training"
    assert told.startswith("train: the job was killed by SIGKILL, most likely because memory ran out; it had asked for")
    assert "mem_mb=4000; give it more with --set-resources train:mem_mb=8000" in told


def test_a_watched_job_ends_as_its_stage_does(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert watched("print('done')", log).returncode == 0
    assert log.read_text() == "done\n"
    assert watched("raise ValueError('too small')", log).returncode == 1
    assert log.read_text().endswith("ValueError: too small\n")
    assert watched("sys.exit(3)", log).returncode == 3


def test_a_signal_to_the_watching_process_reaches_the_stage(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert watched("os.kill(os.getppid(), signal.SIGTERM); signal.pause()", log).returncode == 128 + signal.SIGTERM
    assert log.read_text() == "train: the job was killed by SIGTERM\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_stage_does_not_outlive_the_process_that_watches_it(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    ended = watched("os.kill(os.getppid(), signal.SIGKILL); signal.pause()", log)  # whose end closes the pipes
    assert ended.returncode == -signal.SIGKILL
