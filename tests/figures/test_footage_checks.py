"""Pictures to check a camera pair by can be drawn of whatever was found."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handloom.estimators.hands.found import FoundHands
from handloom.figures.footage_checks import draw_hands, draw_pairing

from ..own_pair import OFFSET_S, OwnPair


def test_the_sheet_shows_frames_with_and_without_a_hand(own_pair: OwnPair, tmp_path: Path) -> None:
    view, made = own_pair.folder / "left", [tmp_path / "all.jpg", tmp_path / "few.jpg"]
    draw_hands(view / "frames", view / "frames.json", view / "hands.npz", made[0])
    hands = FoundHands.load(view / "hands.npz")
    hands.found[::2] = False
    hands.save(view / "hands.npz")
    draw_hands(view / "frames", view / "frames.json", view / "hands.npz", made[1])
    seen, few = (np.asarray(Image.open(path)).astype(int) for path in made)
    assert seen.shape == few.shape == (4 * 210, 4 * 280, 3)
    assert np.abs(seen - few).max() > 100


@pytest.mark.parametrize("offset_s", [None, OFFSET_S])
def test_the_pairing_can_be_looked_at(own_pair: OwnPair, offset_s: float | None) -> None:
    own_pair.pair(offset_s)
    files = own_pair.at("pairs.npz", "pairing.json", "pairing.png")
    draw_pairing(own_pair.hands, *files, rig="rig")
    assert files[-1].stat().st_size > 5000
