"""The stages that cut out hands as a network is taught with them: of an annotated data set, and of a user's pair."""

import math
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from handloom.datasets import AssemblyHandsSettings
from handloom.datasets.assembly_hands import HandAnnotations, cameras_of, read_annotations
from handloom.datasets.box_crops import (
    crop_intrinsics,
    mirrored_keypoints,
    project_in_crop,
    seen_in_crop,
    squares_around,
)
from handloom.datasets.frames import read_frames
from handloom.datasets.invalid_list import is_listed, read_invalid
from handloom.datasets.views import FramePairs, HandCrops, HandLabels, View
from handloom.estimators.hands.found import FoundHands, pixel_rays
from handloom.estimators.hands.search import HandFrame, HandNetwork
from handloom.estimators.hands.squares import picture_axes_from_crop
from handloom.geometry.camera import nominal_rays
from handloom.runtime.devices import computing_on
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey
from handloom.runtime.progress import progress


class Cut(NamedTuple):
    """The hands of one picture as a network sees them."""

    image_u8: UInt8[np.ndarray, "hands px px channels"]
    picture_axes_from_crop: Float[np.ndarray, "hands 3 3"]
    centre_px: Float[np.ndarray, "hands 2"]
    side_px: Float[np.ndarray, " hands"]


CutBoxes = Callable[[np.ndarray, np.ndarray, np.ndarray], Cut]
"""Cuts the hands of a grey picture (height, width) out, given their boxes (x0, y0, x1, y1) and which are left ones."""


def crop_annotated(
    annotations: HandAnnotations, cut_boxes: CutBoxes, *, network: str, field_of_view_deg: float, bad_fraction: float
) -> tuple[HandCrops, HandLabels]:
    """Crops and labels of the annotated hands of one camera.

    Hands in images that cannot be read are left out, counted and listed. Raises InputError when their share exceeds
    `bad_fraction`.
    """
    camera, bad = str(annotations.camera[0]), 0
    rows_of_images: list[int] = []
    cuts: list[Cut] = []
    rays: list[np.ndarray] = []
    side_slopes: list[np.ndarray] = []
    unreadable: list[str] = []
    grouped = [list(rows) for _, rows in groupby(range(len(annotations)), key=annotations.file_name.__getitem__)]
    for rows in progress(grouped, f"crop {camera}"):
        try:
            image = read_grey(annotations.image_path(rows[0]))
        except InputError as error:
            unreadable.append(str(error))
            bad += len(rows)
            if bad > bad_fraction * len(annotations):
                listed = "\n  ".join(unreadable)
                raise InputError(
                    f"{annotations.images}: {bad} of {len(annotations)} hands of {camera} are in images that cannot be "
                    f"read, more than datasets.assembly_hands.bad_fraction = {bad_fraction} allows; fetch these images "
                    f"again, or raise bad_fraction:\n  {listed}"
                ) from error
            continue
        cut = cut_boxes(image, annotations.bbox_px[rows], annotations.is_left[rows])
        rows_of_images += rows
        cuts.append(cut)
        rays.append(nominal_rays(cut.centre_px, (image.shape[1], image.shape[0]), field_of_view_deg))
        side_slopes.append(cut.side_px * (math.tan(math.radians(field_of_view_deg / 2)) / (image.shape[1] / 2)))
    for reason in unreadable:
        print(f"left out: {reason}", file=sys.stderr)
    print(f"{len(rows_of_images)} of {len(annotations)} hands of {camera} cropped", file=sys.stderr)
    kept = annotations[np.array(rows_of_images, dtype=np.int64)]
    which: dict[str, Any] = {name: getattr(kept, name) for name in ("rank", "sequence", "frame", "is_left")}
    crops = HandCrops(
        **which,
        camera=camera,
        image_u8=np.concatenate([cut.image_u8 for cut in cuts]),
        picture_axes_from_crop=np.concatenate([cut.picture_axes_from_crop for cut in cuts]),
        rays=np.concatenate(rays),
        network=network,
        side_slope=np.concatenate(side_slopes),
    )
    focal_px, principal_point_px = crop_intrinsics(kept.intrinsics_px, squares_around(kept.bbox_px))
    joints_cam_m = kept.joints_cam_m
    keypoints_px = project_in_crop(joints_cam_m, focal_px, principal_point_px)
    labels = HandLabels(
        **which,
        camera=camera,
        joints_cam_m=joints_cam_m,
        joint_valid=seen_in_crop(kept.joint_valid, keypoints_px, joints_cam_m),
        keypoints_256px=mirrored_keypoints(keypoints_px, kept.is_left),
        focal_px=focal_px,
        principal_point_px=principal_point_px,
        cam_from_world_rotation=kept.cam_from_world_rotation,
        cam_from_world_translation_mm=kept.cam_from_world_translation_mm,
        unlabelled="; ".join(kept.unlabelled.values()),
    )
    return crops, labels


def annotated_crops(network: str, load: Callable[[Path | None, int, str], CutBoxes]) -> Callable[..., None]:
    """The stage `crop_views` of a network; `load` makes what cuts of its weights, its input's side and the device."""

    def crop_views(
        invalid: Path,
        crops: Path,
        labels: Path,
        *,
        dataset: AssemblyHandsSettings,
        split: str,
        headset: str,
        camera: int,
        input_px: int,
        field_of_view_deg: float,
        weights: Path | None = None,
        device: str = "cpu",
        code: str = "",
    ) -> None:
        """Stage: crop all hands of a camera of a headset, counted from 1, and keep their labels apart.

        Hands of the list `invalid` are left out. Raises InputError for annotations that cannot be used and for too many
        images that cannot be read.
        """
        name = cameras_of(headset)[camera - 1]
        annotations = read_annotations(dataset, split, cameras=(name,))
        annotations = annotations[~is_listed(annotations, read_invalid(invalid))]
        if not len(annotations):
            raise InputError(
                f"{invalid}: lists every hand that {name} sees in split {split}; check the annotations' joint_valid"
            )
        with computing_on(device):
            how = {"field_of_view_deg": field_of_view_deg, "bad_fraction": dataset.bad_fraction}
            of_hands, of_labels = crop_annotated(annotations, load(weights, input_px, device), network=network, **how)
        of_hands.save(crops, code=code)
        of_labels.save(labels, code=code)

    return crop_views


def found_crops(load: Callable[[Path, str], HandNetwork]) -> Callable[..., None]:
    """The stage `crop_pairs` of a network that `load` makes of its weights and the device."""

    def crop_pairs(
        frames: Path,
        frames_json: Path,
        hands: Path,
        pairs: Path,
        weights: Path,
        crops: Path,
        *,
        view: View,
        device: str = "cpu",
        code: str = "",
    ) -> None:
        """Stage: cut out the hands of one view of a user's camera pair, one a pair of frames that show it in both.

        Raises InputError for files that do not belong together.
        """
        found, moments = FoundHands.load(hands), FramePairs.load(pairs)
        pictures = read_frames(frames, frames_json).pictures
        if len(pictures) != len(found.found):
            raise InputError(
                f"{frames}: holds {len(pictures)} frames, but {len(found.found)} were looked at; run again"
            )
        if found.intrinsics is None:
            raise InputError(f"{hands}: knows no camera; find the hands again, with a field of view")
        rows = moments.rows(view)
        squares = found.squares(rows)
        network = load(weights, device)
        images = [
            network.cut(HandFrame(pictures[row]).picture(), squares.at(np.array([place])), found.side)
            for place, row in enumerate(rows.tolist())
        ]
        count = len(rows)
        HandCrops(
            camera=view,
            rank=np.arange(count),
            sequence=np.full(count, "pair"),
            frame=np.arange(count),
            is_left=np.full(count, found.side == "left"),
            image_u8=np.concatenate(images),
            picture_axes_from_crop=picture_axes_from_crop(
                squares, mirrored=network.mirrors_left and found.side == "left"
            ),
            rays=pixel_rays(squares.centre_px, found.intrinsics),
            network=network.name,
            side_slope=squares.side_px / found.intrinsics[0, 0],
        ).save(crops, code=code)

    return crop_pairs
