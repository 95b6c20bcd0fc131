"""GANerated Hands in its original layout: left hands, colour images of 256 x 256 pixels.

Layout, below the data set's root::

    data/{noObject,withObject}/NNNN/*_color_composed.png     the image
                                    *_joint2D.txt            21 key points u, v (pixels), comma-separated
                                    *_joint_pos_global.txt   21 joints x, y, z in the camera frame (millimetres)
"""

from pathlib import Path

import numpy as np

from handloom.datasets import ImageSetSettings
from handloom.datasets.labelled_hands import LabelledHand
from handloom.datasets.training_samples import sample_preparation
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_rgb
from handloom.runtime.reading import MEGABYTE, reading

IMAGE_SUFFIX = "_color_composed.png"


class GaneratedHands:
    """The hands of GANerated Hands in order of their file names; joints come in SNAP order already."""

    channels = 3

    def __init__(self, settings: ImageSetSettings) -> None:
        """Find the images; raises InputError when there are none."""
        data = Path(settings.root) / "data"
        self.bad_fraction = settings.bad_fraction
        self._images = sorted(data.glob(f"*Object/*/*{IMAGE_SUFFIX}"))
        if not self._images:
            raise InputError(
                f"{data}: found no {{noObject,withObject}}/NNNN/*{IMAGE_SUFFIX}; "
                "set datasets.ganerated.root to the folder GANeratedHands_Release"
            )

    def __len__(self) -> int:
        return len(self._images)

    def hand(self, row: int) -> LabelledHand:
        """Read one hand; raises InputError when its image or one of its text files cannot be used."""
        path = self._images[row]
        stem = path.name.removesuffix(IMAGE_SUFFIX)
        keypoints = _numbers(path.with_name(f"{stem}_joint2D.txt"), 42).reshape(21, 2)
        joints_mm = _numbers(path.with_name(f"{stem}_joint_pos_global.txt"), 63).reshape(21, 3)
        return LabelledHand.about_keypoints(read_rgb(path), keypoints, joints_mm / 1000, is_left=True)


def _numbers(path: Path, count: int) -> np.ndarray:
    with reading(path, "a file of comma-separated numbers", "fetch it again", most_bytes=MEGABYTE) as file:
        values = np.array(file.read().decode("utf-8").strip().strip(",").split(","), dtype=np.float64)
    if values.shape != (count,) or not np.isfinite(values).all():
        raise InputError(
            f"{path}: holds {values.size} values, but {count} finite numbers were expected; fetch it again"
        )
    return values


prepare_samples = sample_preparation(GaneratedHands, ImageSetSettings)
