"""Matches: rows stay with their frames, what stands still is left out, tracks go through skipped pictures."""

import cv2
import numpy as np

from handloom.estimators.sfm.matches import Matches, joined
from handloom.estimators.sfm.optical_tracks import followed


def of_two(first: list, second: list, rows: list) -> Matches:
    return Matches.of_frames([np.array(first, float), np.array(second, float)], {(0, 1): np.array(rows)})


def test_joined_matches_keep_the_spots_that_they_pair() -> None:
    one = of_two([[1, 1], [2, 2]], [[3, 3]], [[1, 0]])
    other = of_two([[5, 5]], [[6, 6], [7, 7]], [[0, 1]])
    both = joined(one, other)
    ends = {tuple(map(tuple, both.pixel[pair].tolist())) for pair in both.pairs}
    assert ends == {((2.0, 2.0), (3.0, 3.0)), ((5.0, 5.0), (7.0, 7.0))}
    assert both.frame.tolist() == [0, 0, 0, 1, 1, 1]
    assert {tuple(row) for row in both.of_pairs()[0, 1].tolist()} == {(1, 0), (2, 2)}


def test_background_in_a_leaking_mask_links_no_frames() -> None:
    """Eight spots move by 9 px a frame, two stand still: those two would tell the mapper that nothing turned."""
    moving = np.array([[10.0 * spot, 5.0] for spot in range(8)])
    still = np.array([[200.0, 100.0], [210.0, 120.0]])
    pixels = [np.concatenate([moving + np.array([0, 9 * frame]), still]) for frame in range(4)]
    same = np.stack([np.arange(10)] * 2, 1)
    pairs = {(first, second): same for first in range(4) for second in range(first + 1, 4)}
    kept = Matches.of_frames(pixels, pairs).without_still()
    assert all(len(rows) == 8 and rows.max() == 7 for rows in kept.of_pairs().values())
    # An object that rests keeps its matches: there is nothing to tell it from the background by.
    resting = Matches.of_frames([pixels[0]] * 2, {(0, 1): same})
    assert len(resting.without_still().pairs) == 10


def test_tracks_go_through_pictures_without_a_mask() -> None:
    generator = np.random.default_rng(0)
    texture = cv2.resize(generator.integers(0, 255, (30, 30, 3), np.uint8), (120, 120), interpolation=cv2.INTER_NEAREST)
    pictures, masks = [], {}
    for number in range(7):
        picture, mask = np.full((240, 320, 3), 90, np.uint8), np.zeros((240, 320), bool)
        left, top = 40 + 6 * number, 50 + 3 * number
        picture[top : top + 120, left : left + 120] = texture
        mask[top : top + 120, left : left + 120] = True
        pictures.append((number, picture))
        if number % 3 == 0:
            masks[number] = mask
    found = followed(pictures, masks, {0: 0.0, 3: 1.0, 6: 2.0}, reach=1.0)
    assert set(found.of_pairs()) == {(0, 1), (1, 2)}  # two frames apart is beyond the reach
    moved = found.pixel[found.pairs[:, 1]] - found.pixel[found.pairs[:, 0]]
    assert len(moved) > 200
    assert np.abs(moved - [18, 9]).max(1).mean() < 0.3
