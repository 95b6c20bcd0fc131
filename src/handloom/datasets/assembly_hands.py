"""AssemblyHands-ego in its original layout: annotations, calibration and 3D joints of a split as columns.

Layout, below the data set's root::

    annotations/{split}/assemblyhands_{split}_ego_data_{version}.json      images and hand boxes (COCO style)
    annotations/{split}/assemblyhands_{split}_ego_calib_{version}.json     intrinsics, extrinsics (millimetres)
    annotations/{split}/assemblyhands_{split}_joint_3d_{version}.json      42 world joints (millimetres) a frame
    images/<file_name>
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from handloom.datasets import AssemblyHandsSettings
from handloom.datasets.assembly_hands_files import AnnotationFiles, cameras_of_hands, hands_of, labels_of
from handloom.datasets.box_crops import BOX_MARGIN, SMALLEST_SIDE_PX
from handloom.geometry.bounds import are_boxes, box_fault
from handloom.hand.proportions import are_hands, are_near, hand_fault, nearness_fault
from handloom.runtime.errors import InputError

HEADSET_CAMERAS: Mapping[str, tuple[str, str, str, str]] = {
    "headset1": ("HMC_21176875", "HMC_21176623", "HMC_21110305", "HMC_21179183"),
    "headset2": ("HMC_84346135", "HMC_84347414", "HMC_84355350", "HMC_84358933"),
}
"""The four cameras of each headset; the papers' camera 1 comes first."""

HEADSETS = tuple(HEADSET_CAMERAS)


def cameras_of(headset: str) -> tuple[str, ...]:
    """The cameras of a headset, in the papers' order; raises InputError for another one's name."""
    if headset not in HEADSET_CAMERAS:
        raise InputError(f"headset {headset}: AssemblyHands has {' and '.join(HEADSETS)}")
    return HEADSET_CAMERAS[headset]


def headset_name(headset: str) -> str:
    """`headset1` as it is printed."""
    return f"Headset {headset.removeprefix('headset')}"


def camera_numbers(pair: str) -> tuple[int, int]:
    """The cameras of a pair, counted from 0: `1-3` is (0, 2)."""
    first, second = pair.split("-")
    return int(first) - 1, int(second) - 1


Seen = TypeVar("Seen")


def views_of(views: Sequence[Seen], pair: str) -> tuple[Seen, Seen]:
    """The two cameras of a pair among all of a headset."""
    first, second = camera_numbers(pair)
    return views[first], views[second]


def headset_number(headset: str) -> int:
    """Its number in S2DHand's files, counted from 0."""
    return HEADSETS.index(headset)


NEAREST_M = 1e-9
"""A joint in the camera's own plane would project to infinity."""
ALL_CAMERAS = HEADSET_CAMERAS["headset1"] + HEADSET_CAMERAS["headset2"]


@dataclass(frozen=True)
class HandAnnotations:
    """The annotated hands of a split as columns, in the order of the annotation file and right before left.

    Joints are in SNAP order, in millimetres and the world frame; a camera maps them by `R x + t`. A hand without labels
    has no valid joint, and NaN for joints.
    """

    rank: Int[np.ndarray, " hands"]  # position in the annotation file: 2 * annotation + (1 for a left hand)
    file_name: np.ndarray
    sequence: np.ndarray
    frame: Int[np.ndarray, " hands"]
    camera: np.ndarray
    is_left: Bool[np.ndarray, " hands"]
    bbox_px: Float[np.ndarray, "hands 4"]  # x0, y0, x1, y1 in the full image
    joint_valid: Float[np.ndarray, "hands 21"]
    joints_world_mm: Float[np.ndarray, "hands 21 3"]
    intrinsics_px: Float[np.ndarray, "hands 3 3"]
    cam_from_world_rotation: Float[np.ndarray, "hands 3 3"]
    cam_from_world_translation_mm: Float[np.ndarray, "hands 3"]
    picture_px: Float[np.ndarray, "hands 2"]  # width and height of the full image, NaN where the files do not tell
    images: Path
    unlabelled: Mapping[str, str] = field(default_factory=dict)  # sequences without labels, and why

    def __len__(self) -> int:
        return len(self.rank)

    def __getitem__(self, rows: np.ndarray) -> "HandAnnotations":
        """The hands that a mask or an index array picks."""
        columns = {each.name: getattr(self, each.name) for each in fields(self)}
        whole = ("images", "unlabelled")
        return HandAnnotations(**{name: value if name in whole else value[rows] for name, value in columns.items()})

    @property
    def labelled(self) -> Bool[np.ndarray, " hands"]:
        """Which hands have labels."""
        return ~np.isin(self.sequence, list(self.unlabelled))

    def image_path(self, row: int) -> Path:
        """Where the image of one hand is."""
        return self.images / str(self.file_name[row])

    @property
    def joints_cam_m(self) -> Float[np.ndarray, "hands 21 3"]:
        """Joints in the frame of the camera that sees them, in metres."""
        rotated = np.einsum("nij,nkj->nki", self.cam_from_world_rotation, self.joints_world_mm)
        return (rotated + self.cam_from_world_translation_mm[:, None]) / 1000

    @property
    def keypoints_px(self) -> Float[np.ndarray, "hands 21 2"]:
        """Joints projected into the full image, in pixels."""
        homogeneous = np.einsum("nij,nkj->nki", self.intrinsics_px, self.joints_cam_m)
        depth = homogeneous[..., 2:]
        return homogeneous[..., :2] / np.where(np.abs(depth) < NEAREST_M, NEAREST_M, depth)


def annotation_files(dataset: AssemblyHandsSettings, split: str) -> AnnotationFiles:
    """Where the annotation files of a split are expected."""
    folder = Path(dataset.root) / "annotations" / split
    stem = f"assemblyhands_{split}_ego"
    return AnnotationFiles(
        data=folder / f"{stem}_data_{dataset.version}.json",
        calibration=folder / f"{stem}_calib_{dataset.version}.json",
        joints=folder / f"assemblyhands_{split}_joint_3d_{dataset.version}.json",
        invalid=folder / f"invalid_{split}_ego.txt",
    )


def read_annotations(
    dataset: AssemblyHandsSettings, split: str, cameras: Collection[str] = ALL_CAMERAS
) -> HandAnnotations:
    """Read the hands of a split that the given cameras see; sequences without labels are named on stderr.

    Boxes that are none, and joints with bones of no hand, are left out and counted. Raises InputError when their share
    exceeds `bad_fraction`, when most hands are not where their boxes are, when a file is missing or cut short, a key is
    missing, an image is there or annotated twice, a label is no number, or a camera or frame has no calibration, one of
    no camera, or no joints.
    """
    files = annotation_files(dataset, split)
    hands = hands_of(files.data, frozenset(cameras), frozenset(ALL_CAMERAS))
    joint_valid, joints_world_mm, unlabelled = labels_of(hands, files)
    intrinsics, extrinsics = cameras_of_hands(hands, files.calibration)
    every = HandAnnotations(
        **{**hands, "joint_valid": joint_valid},
        joints_world_mm=joints_world_mm,
        intrinsics_px=intrinsics,
        cam_from_world_rotation=extrinsics[:, :, :3],
        cam_from_world_translation_mm=extrinsics[:, :, 3],
        images=Path(dataset.root) / "images",
        unlabelled=unlabelled,
    )
    for why in unlabelled.values():
        print(why, file=sys.stderr)
    kept = every[~_bad(every, files, dataset.bad_fraction)]
    _require_hands_in_boxes(kept, files)
    return kept


def _bad(hands: HandAnnotations, files: AnnotationFiles, bad_fraction: float) -> Bool[np.ndarray, " hands"]:
    """Hands whose box is none or whose joints are no hand's, which are counted."""
    size_px = np.where(np.isfinite(hands.picture_px), hands.picture_px, np.inf)
    no_box = ~are_boxes(hands.bbox_px, size_px)
    no_hand = hands.labelled & ~are_hands(hands.joints_world_mm / 1000, hands.joint_valid)
    no_hand |= hands.labelled & ~are_near(hands.joints_cam_m)
    for bad, path, name in ((no_box, files.data, "bbox"), (no_hand, files.joints, "joints")):
        if not bad.any():
            continue
        row = int(np.argmax(bad))
        if name == "bbox":
            fault = box_fault(hands.bbox_px[row], size_px[row])
        else:
            fault = hand_fault(hands.joints_world_mm[row] / 1000, hands.joint_valid[row])
            fault = fault or nearness_fault(hands.joints_cam_m[row])
        side = "left" if hands.is_left[row] else "right"
        told = f"{path}: {name} of the {side} hand in {hands.file_name[row]}: {fault}"
        if bad.sum() > bad_fraction * len(hands):
            raise InputError(
                f"{told}; so are {int(bad.sum())} of {len(hands)} hands, more than datasets.assembly_hands."
                f"bad_fraction = {bad_fraction:g} allows; correct the file"
            )
        print(f"left out: {told} ({int(bad.sum())} of {len(hands)} hands)", file=sys.stderr)
    return no_box | no_hand


def _require_hands_in_boxes(hands: HandAnnotations, files: AnnotationFiles) -> None:
    """Raise InputError when most labelled hands do not show a valid joint in the square around their box."""
    low, high = hands.bbox_px[:, None, :2], hands.bbox_px[:, None, 2:]
    half = np.maximum(BOX_MARGIN * (high - low).max(axis=-1, keepdims=True), SMALLEST_SIDE_PX) / 2
    inside = (np.abs(hands.keypoints_px - (low + high) / 2) <= half).all(axis=-1) & (hands.joints_cam_m[..., 2] > 0)
    seen = (inside & (hands.joint_valid > 0)).any(axis=1)
    judged = hands.labelled & (hands.joint_valid > 0).any(axis=1)
    lost = judged & ~seen
    if 2 * lost.sum() > judged.sum():
        row = int(np.argmax(lost))
        depth_m = float(np.median(hands.joints_cam_m[row, :, 2]))
        raise InputError(
            f"{files.calibration}: {int(lost.sum())} of {int(judged.sum())} hands are not where their boxes are, "
            f"such as that of {hands.file_name[row]}, whose joints are {depth_m:.3g} m in front of the camera; "
            "expected the cameras and joints of these images, cameras from the world, translations in millimetres; "
            "correct the files, or fetch them again"
        )
