"""While a run goes on a user sees what is made, how many are done and the time left; after a failure, why."""

import logging
from pathlib import Path
from typing import Any

import pytest

from handloom.runtime import run_lines
from handloom.runtime.run_lines import RunLines, cause


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds on the clock."""
    now = [0.0]
    monkeypatch.setattr(run_lines.time, "monotonic", lambda: now[0])
    return now


def told(lines: RunLines, words: str = "", **event: Any) -> str:
    return lines.format(logging.makeLogRecord({"msg": words, **event}))


def test_jobs_are_lines_with_the_time_that_others_of_their_kind_took(clock: list[float]) -> None:
    lines = RunLines(logging.Formatter())
    assert told(lines, event="run_info", stats={"adapt": 4, "all": 1, "total": 5}) == "5 jobs"
    wildcards = {"setting": "in", "pair": "1-2"}
    for number in (1, 2):
        assert told(lines, event="job_info", rule_name="adapt", jobid=number, wildcards=wildcards) == "  adapt in 1-2"
    clock[0] = 120
    for number in (1, 2):
        assert told(lines, event="job_finished", job_id=number) == ""
    # Two adaptations and one other job of two minutes each, two at once.
    assert told(lines, event="progress", done=2, total=5) == "2 of 5 jobs done, about 3 min left"
    assert told(lines, "Select jobs to execute...") == ""
    assert told(lines, "Nothing to be done") == "Nothing to be done"


def test_a_failed_job_ends_with_cause_and_remedy(tmp_path: Path) -> None:
    log = tmp_path / "adapt.log"
    log.write_text("adapt 1-2: 3 of 5\nInputError: a.npz: is empty;\nfetch it again\n")
    lines = RunLines(logging.Formatter())
    found = told(lines, event="job_error", rule_name="adapt", jobid=1, log=[str(log)])
    assert found == f"adapt failed (log: {log})\nInputError: a.npz: is empty;\nfetch it again"
    killed = "adapt: the job was killed by SIGKILL, most likely because memory ran out"
    log.write_text(f"adapt 1-2: 3 of 5\n{killed}\n")
    assert cause([log]) == killed
    log.write_text("x" * 9000 + "\nKeyError: 'joints'\n")
    assert "KeyError: 'joints'\nhandloom did not foresee this error" in cause([log])
    assert "left no words" in cause([tmp_path / "none.log"])
