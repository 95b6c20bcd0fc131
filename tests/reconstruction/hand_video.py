"""A small video for networks that find hands: a dark square for a hand, absent from one frame."""

from pathlib import Path

import cv2
import numpy as np

CORNERS = ((50, 30), None, (60, 40), (70, 30))
"""Upper left corner of the hand in each frame."""


def video(folder: Path) -> tuple[Path, Path]:
    """Frames with a dark square for a hand and one bright spot in it, at (corner + 12, corner + 25)."""
    for name in ("frames", "masks"):
        (folder / name).mkdir()
    for index, corner in enumerate(CORNERS):
        image, mask = np.full((120, 160, 3), 60, np.uint8), np.zeros((120, 160), np.uint8)
        if corner is not None:
            x, y = corner
            image[y : y + 40, x : x + 30], mask[y : y + 40, x : x + 30] = 100, 150
            image[y + 24 : y + 27, x + 11 : x + 14] = 255
        cv2.imwrite(str(folder / "frames" / f"{index:04d}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{index:04d}.png"), mask)
    return folder / "frames", folder / "masks"
