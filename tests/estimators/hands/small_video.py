"""A small video in which a bright patch is the hand, as files, and a network that sees the patch."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8
from torch import nn

from handloom.datasets.frames import Frames, Picture
from handloom.estimators.hands.found import UNKNOWN_SIDE, Answer, certain
from handloom.estimators.hands.search import HandFrame, HandNetwork
from handloom.estimators.hands.squares import Squares, crops_of, picture_axes_from_crop
from handloom.hand.joints import Side

WIDTH_PX, HEIGHT_PX = 160, 120
CORNERS = ((50, 30), None, (60, 40), (70, 30))
"""Where the hand is, if nothing else is asked for: absent from the second frame."""
HAND = np.random.default_rng(0).normal(scale=0.04, size=(21, 3))
"""The joints that the network answers with, along its crop's axes."""


class Video(NamedTuple):
    """Where the video lies, by the names of the stages' arguments."""

    frames: Path
    frames_json: Path
    masks: Path

    @property
    def pictures(self) -> list[HandFrame]:
        return [HandFrame(path, self.masks / path.name) for path in sorted(self.frames.iterdir())]

    @property
    def unmasked(self) -> list[HandFrame]:
        return [HandFrame(frame.image) for frame in self.pictures]


def small_video(folder: Path, corners: Sequence[tuple[int, int] | None] = CORNERS, label: int = 150) -> Video:
    """Frames with a patch of 30 x 40 pixels for a hand and one bright spot in it, at (corner + 12, corner + 25).

    `corners` gives its left upper corner, or None where there is no hand.
    """
    for name in ("frames", "masks"):
        (folder / name).mkdir()
    for index, corner in enumerate(corners):
        image, mask = np.full((HEIGHT_PX, WIDTH_PX, 3), 60, np.uint8), np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
        if corner is not None:
            x, y = corner
            image[y : y + 40, x : x + 30], mask[y : y + 40, x : x + 30] = 200, label
            image[y + 24 : y + 27, x + 11 : x + 14] = 255
        cv2.imwrite(str(folder / "frames" / f"{index:04d}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{index:04d}.png"), mask)
    names, times = tuple(f"{row:06d}" for row in range(len(corners))), tuple(row / 30 for row in range(len(corners)))
    Frames(folder / "frames", names, times, "test", WIDTH_PX, HEIGHT_PX, "video:a.mp4", None).write_list(
        folder / "frames.json"
    )
    return Video(folder / "frames", folder / "frames.json", folder / "masks")


class PatchNetwork(HandNetwork):
    """Answers with the middle of its square and one hand, and is as sure as the picture is bright there."""

    name, field_of_box, mirrors_left, metric, sure_score = "patches", 2.0, True, True, 0.5
    input_px, network = 32, nn.Identity()

    def answer(self, frames: Sequence[HandFrame], squares: Squares, side: Side) -> Answer:
        """The hand of every square."""
        spots = squares.centre_px.round().astype(int)
        bright = [frame.picture()[y, x, 0] / 255 for frame, (x, y) in zip(frames, spots.tolist(), strict=True)]
        joints = HAND @ picture_axes_from_crop(squares).swapaxes(1, 2)
        score = np.array(bright, np.float64)
        middles = squares.centre_px[:, None].repeat(21, 1)
        return Answer(squares, middles, joints, certain(score), score, np.full(len(frames), UNKNOWN_SIDE))

    def cut(self, picture: Picture, squares: Squares, side: Side) -> UInt8[np.ndarray, "hands px px 3"]:
        """Crops, left hands mirrored."""
        crops = crops_of(picture, squares, self.input_px, border=0)
        return np.ascontiguousarray(crops[:, :, ::-1]) if side == "left" else crops
