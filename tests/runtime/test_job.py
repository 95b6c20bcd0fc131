"""What surrounds a job's stage: its log gets everything, errors go on, the source folder is handed down once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from handloom.runtime.job import hand_down_source, logged_job


def run(program: str, log: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from handloom.runtime.job import logged_job\n" + program, str(log)]
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
