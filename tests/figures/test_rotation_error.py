"""Bars of rotation errors: single, synchronised and adapted, mean over pairs and span over seeds."""

from pathlib import Path

import pytest
from PIL import Image

from handloom.figures.rotation_error import draw_rotation_errors, rotation_error_table
from handloom.runtime.errors import InputError

from ..evaluation.headset_files import HeadsetFiles  # noqa: TID252  # tests/ is not on sys.path


def test_errors_come_from_diagnostics_and_scores(headset: HeadsetFiles) -> None:
    """The fixture says 13, 9 and 4 degrees at the start; its adapted rotations are one degree off."""
    table = rotation_error_table(headset.rotations, headset.rotations.with_name("scores.csv"))
    found = table.set_index(["pair", "kind"])["mean"].sort_index()
    assert len(found) == 7 * 5
    for pair in ("1-2", "overall"):
        assert found[pair, "published"] == 13
        assert found[pair, "single"] == 9
        assert found[pair, "synchronised"] == 4
        assert found[pair, "s2dhand"] == pytest.approx(1, abs=1e-6)
    assert set(table["setting"]) == {"in"}


@pytest.mark.slow
def test_the_figure_is_drawn(headset: HeadsetFiles, tmp_path: Path) -> None:
    draw_rotation_errors([headset.rotations], [tmp_path / "scores.csv"], tmp_path / "rotation.png")
    with Image.open(tmp_path / "rotation.png") as image:
        assert image.width > 700


def test_files_without_diagnostics_are_refused(headset: HeadsetFiles, tmp_path: Path) -> None:
    headset.rotations.write_text("{}")
    with pytest.raises(InputError, match=r"rotations.json and .*scores.csv: lack"):
        draw_rotation_errors([headset.rotations], [tmp_path / "scores.csv"], tmp_path / "rotation.png")
