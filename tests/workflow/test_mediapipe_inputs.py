"""MediaPipe's networks in the workflow: fetched before all else, or the user's own; a run without them ends early."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from handloom.estimators.mediapipe import LANDMARKS_FILE
from handloom.estimators.mediapipe.package_weights import WHEEL

from .project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow_fresh")]

ESTIMATES = "results/hold/jug1/hand_estimates.npz"


def with_mediapipe(project: Project, **mediapipe: Any) -> Project:
    settings = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    estimation = {"backend": "mediapipe", "mediapipe": mediapipe}
    settings.setdefault("hold", {}).setdefault("hand", {})["estimation"] = estimation
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    return project


def test_the_rule_that_fetches_is_part_of_the_run(fresh: Callable[[str], Project]) -> None:
    project = with_mediapipe(fresh("default"))
    planned = project.snakemake("--dry-run", ESTIMATES)
    assert "rule fetch_mediapipe:" in planned
    inputs = next(
        line
        for line in planned.splitlines()
        if line.strip().startswith("input: ") and "masks" in line and LANDMARKS_FILE in line
    )
    assert "detnet" not in inputs


def test_an_own_file_that_is_missing_ends_the_run_before_any_job(fresh: Callable[[str], Project]) -> None:
    project = with_mediapipe(fresh("own"), landmarks="mine/hand.tflite")
    told = project.snakemake(ESTIMATES, fails=True)
    assert "hold.hand.estimation.mediapipe.landmarks: leads to mine/hand.tflite, which does not exist" in told
    assert "https://pypi.org/project/mediapipe" in told
    assert not (project.folder / "results/hold").exists()
    assert "MediaPipe's" in project.snakemake("check")
    (project.folder / "mine").mkdir()
    (project.folder / "mine/hand.tflite").write_bytes(b"network")
    planned = project.snakemake("--dry-run", ESTIMATES)
    assert "mine/hand.tflite" in planned
    assert "fetch_mediapipe" not in planned


def test_with_a_wrong_package_the_rule_fails_and_says_what_to_do(fresh: Callable[[str], Project]) -> None:
    project = with_mediapipe(fresh("wrong"))
    package = project.folder / "data/mediapipe" / WHEEL
    package.parent.mkdir(parents=True)
    package.write_bytes(b"another file")
    told = project.snakemake(LANDMARKS_FILE, fails=True)
    for words in (f"{WHEEL}: has SHA-256", "By hand: fetch", "hold.hand.estimation.mediapipe.landmarks"):
        assert words in told  # the failed job's log is shown
    assert not (project.folder / LANDMARKS_FILE).exists()
