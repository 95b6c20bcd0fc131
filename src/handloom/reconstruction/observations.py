"""What phases of HOLD see of a sequence: its video in memory, what each pixel is, rays through pixels, first poses."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from handloom.datasets.frames import median_picture
from handloom.datasets.masks import MASK_LABELS
from handloom.geometry.camera import pixel_rays
from handloom.hand.joints import Side, hand_in_words
from handloom.hand.mano import HandModel
from handloom.reconstruction.build_folder import read_build, read_pictures
from handloom.reconstruction.scene_poses import ObjectCube, object_cube
from handloom.reconstruction.tracks import SequencePoses
from handloom.runtime.errors import InputError

BACKGROUND, OBJECT, HAND = 0, 1, 2
"""What a pixel shows; `HAND` and all above it are hands."""
CLASS_OF_SIDE: dict[Side, int] = {"right": HAND, "left": HAND + 1}
CLASS_COUNT = 4
CLASS_OF_LABEL = dict(zip(MASK_LABELS, (BACKGROUND, OBJECT, *CLASS_OF_SIDE.values()), strict=True))
"""From the labels 0, 50, 150 and 250. A marked hand that is not reconstructed hides things, and is not compared."""
CUBE_MARGIN = 1.35
"""Side of the object's cube over that of its SfM points' sphere: points rarely reach all of the object's ends."""


class RayBatch(NamedTuple):
    """Rays of several frames: directions with z = 1, and what the pixel shows."""

    frame: Int[Tensor, " rays"]
    directions: Float[Tensor, "rays 3"]
    colour: Float[Tensor, "rays 3"]
    kind: Int[Tensor, " rays"]
    background: Float[Tensor, "rays 3"]
    """What is seen where nothing is in front: the pixel itself if it shows background, else the plate."""


@dataclass(frozen=True)
class Observations:
    """A whole video in memory, in the camera's pixels."""

    image_u8: UInt8[Tensor, "frames rows columns 3"]
    class_u8: UInt8[Tensor, "frames rows columns"]
    intrinsics: Float[Tensor, "3 3"]
    plate_u8: UInt8[Tensor, "rows columns 3"]
    boxes: Int[Tensor, "classes frames 4"]
    """Per class and frame first column, first row, last column, last row (inclusive); the whole image if absent."""
    sides: tuple[Side, ...] = ("right",)
    """The hands that are reconstructed."""

    @classmethod
    def of(
        cls,
        image_u8: UInt8[Tensor, "frames rows columns 3"],
        class_u8: UInt8[Tensor, "frames rows columns"],
        intrinsics: Float[Tensor, "3 3"],
        sides: tuple[Side, ...] = ("right",),
    ) -> "Observations":
        """Raises InputError when the object or a hand is in no frame."""
        plate, boxes = background_plate(image_u8, class_u8), label_boxes(class_u8)
        observations = cls(image_u8, class_u8, intrinsics, plate, boxes, sides)
        require_seen(observations.seen)
        return observations

    @property
    def seen(self) -> dict[str, Bool[Tensor, " frames"]]:
        """In which frames object and hands are."""
        kinds = {"object": OBJECT, **{hand_in_words(side, self.sides): CLASS_OF_SIDE[side] for side in self.sides}}
        return {what: (self.class_u8 == kind).flatten(1).any(1) for what, kind in kinds.items()}

    def to(self, device: torch.device | str) -> "Observations":
        """The same video on another device."""
        video: dict[str, Any] = {n: value.to(device) for n, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **video)

    def rays(self, frame: Int[Tensor, " rays"], pixels: Int[Tensor, "rays 2"]) -> RayBatch:
        """Rays through the centres of pixels (column, row)."""
        column, row = pixels.unbind(-1)
        colour = self.image_u8[frame, row, column].float() / 255
        kind = self.class_u8[frame, row, column].long()
        plate = self.plate_u8[row, column].float() / 255
        background = torch.where((kind == BACKGROUND)[:, None], colour, plate)
        return RayBatch(frame, self.directions(pixels), colour, kind, background)

    def directions(self, pixels: Int[Tensor, "rays 2"]) -> Float[Tensor, "rays 3"]:
        """K^-1 (u, v, 1): rays in the OpenCV camera's frame whose parameter is the depth."""
        return pixel_rays(pixels.float(), self.intrinsics)

    def draw(self, count: int, object_share: float, hand_share: float, generator: torch.Generator) -> RayBatch:
        """Random rays over all frames: given shares in the boxes of object and hands, the rest anywhere.

        The generator is the CPU's, so that all devices draw the same rays.
        """
        device = self.image_u8.device
        frame = torch.randint(len(self.image_u8), (count,), generator=generator).to(device)
        place, which = torch.rand(count, 2, generator=generator), torch.rand(count, generator=generator)
        place, which = place.to(device), which.to(device)
        kind = torch.where(which < object_share, OBJECT, BACKGROUND)
        for number, side in enumerate(self.sides):
            least, most = (object_share + hand_share * (number + end) / len(self.sides) for end in (0, 1))
            kind = torch.where((which >= least) & (which < most), CLASS_OF_SIDE[side], kind)
        low, high = self.boxes[kind, frame].split(2, dim=-1)
        pixels = low + (place * (high - low + 1)).long().minimum(high - low)
        return self.rays(frame, pixels)


def require_seen(seen: Mapping[str, Bool[Tensor, " frames"]]) -> None:
    """Raises InputError when the object or a hand is in no frame."""
    for what, there in seen.items():
        if not bool(there.any()):
            raise InputError(
                f"masks: no pixel of any of the {len(there)} frames is labelled {what}; "
                "look at the masks' picture and correct the prompt or the label convention"
            )


def label_boxes(class_u8: UInt8[Tensor, "frames rows columns"]) -> Int[Tensor, "classes frames 4"]:
    """Bounding boxes of the classes in every frame; of the background, and where a class is absent, the image."""
    rows, columns = class_u8.shape[1:]
    boxes = torch.tensor([0, 0, columns - 1, rows - 1]).expand(CLASS_COUNT, len(class_u8), 4).clone()
    for label in (OBJECT, *CLASS_OF_SIDE.values()):
        present, found = region_boxes(class_u8 == label)
        boxes[label] = torch.where(present[:, None], found, boxes[label])
    return boxes


def region_boxes(
    regions: Bool[Tensor, "*batch rows columns"],
) -> tuple[Bool[Tensor, "*batch"], Int[Tensor, "*batch 4"]]:
    """Whether each region has pixels, and its first column, first row, last column, last row (inclusive)."""
    across, down = regions.any(-2), regions.any(-1)
    (left, right), (top, bottom) = (
        (line.int().argmax(-1), line.shape[-1] - 1 - line.flip(-1).int().argmax(-1)) for line in (across, down)
    )
    return across.any(-1), torch.stack([left, top, right, bottom], -1)


def background_plate(
    image_u8: UInt8[Tensor, "frames rows columns 3"], class_u8: UInt8[Tensor, "frames rows columns"]
) -> UInt8[Tensor, "rows columns 3"]:
    """The empty scene: per pixel the median of the frames that show background, painted in where none does."""
    shown = class_u8.numpy() == BACKGROUND
    plate = median_picture(image_u8.numpy(), shown)
    never = (~shown.any(0)).astype(np.uint8)
    return torch.from_numpy(cv2.inpaint(plate, never, 3, cv2.INPAINT_TELEA) if never.any() else plate)


class SceneInput(NamedTuple):
    """The video, the first poses, and the cube that the object lies in: all in the camera's frame, in metres."""

    names: tuple[str, ...]
    observations: Observations
    poses: dict[Side, SequencePoses]
    """Of every hand."""
    cube: ObjectCube
    points_unit: Float[Tensor, "points 3"]
    """The SfM points in the cube's unit: its sides are at -1 and 1."""


def read_scene(build: Path, models: Mapping[Side, HandModel]) -> SceneInput:
    """Read a build folder with the models' hands.

    Raises InputError for a folder of other hands or with different cameras per frame.
    """
    scene = read_build(build, models)
    images, labels = read_pictures(scene)
    classes = torch.zeros(256, dtype=torch.uint8)
    for label, kind in CLASS_OF_LABEL.items():
        classes[label] = kind
    intrinsics = scene.cameras.intrinsics.float()
    if not bool(torch.allclose(intrinsics, intrinsics[:1], rtol=1e-4)):
        raise InputError(f"{build}: its frames have different intrinsics; the compact reconstruction takes one camera")
    return SceneInput(
        scene.names,
        Observations.of(
            torch.from_numpy(images), classes[torch.from_numpy(labels).long()], intrinsics[0], tuple(models)
        ),
        {side: scene.poses_cam(model) for side, model in models.items()},
        object_cube(scene.normalised_from_sfm, CUBE_MARGIN),
        scene.points_canonical.float() / CUBE_MARGIN,
    )
