"""What a run tells while it goes on: each job by a line, how many are done and the time left, and why one failed.

A formatter of Snakemake's events (`snakemake_interface_logger_plugins.common.LogEvent`) for its stream; the file that
Snakemake itself logs to keeps all of its own words. No Snakemake is imported.
"""

import logging
import re
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ENDS = re.compile(r"^(?:(?:InputError|OutputError|StoppedError): |\w+: the job was killed by )", re.MULTILINE)
_NOISE = (
    *("Select jobs to execute", "Exiting because a job execution failed", "Building DAG of jobs", "Complete log"),
    *("CalledProcessError in file", "At least one job did not complete", "Will exit after finishing"),
)
_LONGEST = 1500
"""Characters of a log that are shown where its end is no error that handloom foresees."""


class RunLines(logging.Formatter):
    """A line for the start of each job, and one for what is done; all other messages as Snakemake has them."""

    def __init__(self, otherwise: logging.Formatter) -> None:
        super().__init__()
        self._otherwise = otherwise
        self._waiting: dict[str, int] = {}
        self._running: dict[int, tuple[str, str, float]] = {}
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._began = time.monotonic()

    def format(self, record: logging.LogRecord) -> str:
        """The words of an event; none where others tell the same."""
        said: Mapping[str, Any] = vars(record)
        event = str(said.get("event") or "")
        if event == "run_info":
            self._waiting = {name: count for name, count in said["stats"].items() if name != "total"}
            return f"{sum(self._waiting.values())} jobs"
        if event == "job_info":
            return self._started(said)
        if event == "job_finished":
            name, _, began = self._running.pop(said["job_id"], ("", "", 0.0))
            self._seconds[name].append(time.monotonic() - began)
            return ""
        if event == "progress":
            return f"{said['done']} of {said['total']} jobs done{self._left()}"
        if event == "job_error":
            return self._failed(said)
        if event in ("job_started", "resources_info", "shellcmd"):
            return ""
        told = self._otherwise.format(record)
        return "" if any(noise in told for noise in _NOISE) else told

    def _started(self, said: Mapping[str, Any]) -> str:
        name, words = said["rule_name"], " ".join(str(each) for each in said["wildcards"].values())
        self._running[said["jobid"]] = name, words, time.monotonic()
        self._waiting[name] = self._waiting.get(name, 1) - 1
        return f"  {name} {words}".rstrip()

    def _left(self) -> str:
        """How long what is left will take, as long as jobs of its kind took, so many at once as until now."""
        took = {name: sum(each) / len(each) for name, each in self._seconds.items()}
        every = [seconds for each in self._seconds.values() for seconds in each]
        if not every:
            return ""
        now, usual = time.monotonic(), sum(every) / len(every)
        spent = sum(every) + sum(now - began for *_, began in self._running.values())
        left = sum(count * took.get(name, usual) for name, count in self._waiting.items())
        left += sum(max(took.get(name, usual) - (now - began), 0) for name, _, began in self._running.values())
        minutes = left * (now - self._began) / spent / 60
        return f", about {minutes:.0f} min left" if minutes >= 1 else ", less than a minute left"

    def _failed(self, said: Mapping[str, Any]) -> str:
        name, words, _ = self._running.pop(said["jobid"], (said["rule_name"], "", 0.0))
        logs = [Path(path) for path in said["log"]]
        return f"{name} {words}".rstrip() + f" failed (log: {', '.join(map(str, logs))})\n{cause(logs)}"


def cause(logs: list[Path]) -> str:
    """Why a job failed, by the end of its log: cause and remedy of an error that handloom foresees, or the last lines.

    Logs that are not there, say of a job that never began on a cluster, have nothing to tell.
    """
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in logs if path.is_file()).strip()
    if not text:
        return "it left no words; the messages above, or the cluster's own log, tell more"
    if ends := list(_ENDS.finditer(text)):
        return text[ends[-1].start() :]
    return f"{text[-_LONGEST:]}\nhandloom did not foresee this error; if its words do not help, report it with the log"


def tell_by_lines(logger: logging.Logger) -> None:
    """Have Snakemake's stream tell a run by these lines."""
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler" and handler.formatter is not None:
            handler.setFormatter(RunLines(handler.formatter))
