"""The result files of one small headset, scored."""

from pathlib import Path

import pytest

from handloom.evaluation.scores import score_headset

from ..evaluation.headset_files import PAIRS, HeadsetFiles, write_headset  # noqa: TID252  # tests/ is not on sys.path


@pytest.fixture
def headset(tmp_path: Path) -> HeadsetFiles:
    """Also writes `scores.csv` and `sample_errors.npz` beside the other files."""
    files = write_headset(tmp_path, px=32)
    score_headset(
        files.views, files.source_predictions, files.rotations, files.predictions,
        tmp_path / "scores.csv", tmp_path / "sample_errors.npz",
        setting="in", headset="headset1", pairs=PAIRS, root_joint=0,
    )  # fmt: skip
    return files
