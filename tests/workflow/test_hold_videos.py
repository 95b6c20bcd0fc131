"""A run leaves a turntable and an overlay video of every sequence, which the report carries."""

import pytest

from handloom.figures.hold_pictures import TURN_PICTURES
from handloom.figures.video_file import read_video

from .project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]


def test_a_run_makes_the_videos(built: Project) -> None:
    folder = built.folder / "results/hold/jug1/phase3"
    assert len(read_video(folder / "turntable.mp4")) == TURN_PICTURES
    assert len(read_video(folder / "overlay.mp4")) == 16  # frames of the smoke preset
    assert sum((folder / f"{name}.mp4").stat().st_size for name in ("turntable", "overlay")) < 2_000_000


def test_videos_of_other_phases_are_made_when_asked_for(built: Project) -> None:
    output = built.snakemake("--dry-run", "results/hold/jug1/phase1/overlay.mp4")
    assert "hold_results" in output
    assert "train_phase" not in output
