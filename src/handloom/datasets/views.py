"""The hands that one camera of a headset sees, cropped for the network, and the pairs that two cameras share."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from handloom.datasets.assembly_hands import HEADSET_CAMERAS, HandAnnotations, read_annotations
from handloom.datasets.crops import (
    crop_intrinsics,
    mirrored_keypoints,
    network_image,
    offsets_half_widths,
    project,
    seen_in_crop,
    squares_around,
    warp_crop,
)
from handloom.datasets.invalid_list import is_listed, read_invalid
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.config.datasets import AssemblyHandsSettings, Headset
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey
from handloom.runtime.progress import progress

KIND = "view_samples"


@dataclass(frozen=True)
class ViewSamples:
    """The hands that one camera sees, in annotation order; hands of the invalid list are left out.

    Images and key points are mirrored for left hands, as the network sees them; joints and cameras are not.
    """

    camera: str
    rank: Int[np.ndarray, " hands"]  # position in the annotation file, comparable between cameras
    file_name: np.ndarray
    sequence: np.ndarray
    frame: Int[np.ndarray, " hands"]
    is_left: Bool[np.ndarray, " hands"]
    image_u8: UInt8[np.ndarray, "hands px px"]
    joints_cam_m: Float[np.ndarray, "hands 21 3"]
    joint_valid: Float[np.ndarray, "hands 21"]  # 0 or 1: annotated as valid and seen in the crop
    keypoints_256px: Float[np.ndarray, "hands 21 2"]
    focal_px: Float[np.ndarray, "hands 2"]  # of the un-mirrored 256-pixel crop
    principal_point_px: Float[np.ndarray, "hands 2"]
    crop_offset_half_widths: Float[np.ndarray, "hands 2"]  # un-mirrored crop's centre - image's centre
    cam_from_world_rotation: Float[np.ndarray, "hands 3 3"]
    cam_from_world_translation_mm: Float[np.ndarray, "hands 3"]
    unreadable_image: np.ndarray  # images that could not be read, whose hands are left out
    unreadable_reason: np.ndarray

    def __len__(self) -> int:
        return len(self.rank)


def save_views(path: Path, samples: ViewSamples, code: str = "") -> None:
    """Write the samples as a `view_samples` artifact."""
    arrays = {field.name: np.asarray(getattr(samples, field.name)) for field in fields(samples)}
    header = Header(KIND, units="m, px, mm", frame="camera (x right, y down, z forward)", joint_order="SNAP", code=code)
    write_arrays(path, arrays, header)


def load_views(path: Path) -> ViewSamples:
    """Read a `view_samples` artifact; raises InputError when it is missing, damaged or of another kind."""
    arrays, _ = read_arrays(path, KIND)
    missing = {field.name for field in fields(ViewSamples)} - arrays.keys()
    if missing:
        raise InputError(f"{path}: lacks {sorted(missing)}; delete it and run the rule that makes it again")
    camera = str(arrays.pop("camera"))
    return ViewSamples(camera=camera, **arrays)


def crop_views(
    dataset: AssemblyHandsSettings,
    invalid: Path,
    output: Path,
    *,
    split: str,
    headset: Headset,
    camera_number: int,
    input_px: int,
    code: str = "",
) -> None:
    """Stage: crop all hands of camera 1 to 4 of a headset.

    Hands in images that cannot be read are counted and listed, in the log and in the artifact.
    Raises InputError when their share exceeds `bad_fraction`, and for annotations that cannot be used.
    """
    camera = HEADSET_CAMERAS[headset][camera_number - 1]
    annotations = read_annotations(dataset, split, cameras=(camera,))
    annotations = annotations[~is_listed(annotations, read_invalid(invalid))]
    if not len(annotations):
        raise InputError(
            f"{invalid}: lists every hand that {camera} sees in split {split}; check the annotations' joint_valid"
        )
    samples = crop_hands(annotations, input_px=input_px, bad_fraction=dataset.bad_fraction)
    save_views(output, samples, code)


def crop_hands(annotations: HandAnnotations, *, input_px: int, bad_fraction: float) -> ViewSamples:
    """Crop the annotated hands of one camera (2.4); see `crop_views`."""
    squares = squares_around(annotations.bbox_px)
    images = np.zeros((len(annotations), input_px, input_px), dtype=np.uint8)
    image_size_px = np.ones((len(annotations), 2))
    readable = np.ones(len(annotations), dtype=bool)
    unreadable: dict[str, str] = {}
    for rows, image in _images(annotations):
        if isinstance(image, InputError):
            readable[rows] = False
            unreadable[str(annotations.file_name[rows[0]])] = str(image)
            _check_share(annotations, readable, unreadable, bad_fraction)
            continue
        image_size_px[rows] = image.shape[::-1]
        for row in rows:
            crop = warp_crop(image, squares.corner_px[row], int(squares.side_px[row]))
            images[row] = network_image(crop, is_left=bool(annotations.is_left[row]), input_px=input_px)
    for reason in unreadable.values():
        print(f"left out: {reason}", file=sys.stderr)
    print(f"{int(readable.sum())} of {len(annotations)} hands of {annotations.camera[0]} cropped", file=sys.stderr)

    intrinsics = crop_intrinsics(annotations.intrinsics_px, squares)
    joints_cam_m = annotations.joints_cam_m
    keypoints_px = project(joints_cam_m, intrinsics.focal_px, intrinsics.principal_point_px)
    return ViewSamples(
        camera=str(annotations.camera[0]),
        rank=annotations.rank[readable],
        file_name=annotations.file_name[readable],
        sequence=annotations.sequence[readable],
        frame=annotations.frame[readable],
        is_left=annotations.is_left[readable],
        image_u8=images[readable],
        joints_cam_m=joints_cam_m[readable],
        joint_valid=seen_in_crop(annotations.joint_valid, keypoints_px, joints_cam_m)[readable],
        keypoints_256px=mirrored_keypoints(keypoints_px, annotations.is_left)[readable],
        focal_px=intrinsics.focal_px[readable],
        principal_point_px=intrinsics.principal_point_px[readable],
        crop_offset_half_widths=offsets_half_widths(squares, image_size_px)[readable],
        cam_from_world_rotation=annotations.cam_from_world_rotation[readable],
        cam_from_world_translation_mm=annotations.cam_from_world_translation_mm[readable],
        unreadable_image=np.array(list(unreadable), dtype=str),
        unreadable_reason=np.array(list(unreadable.values()), dtype=str),
    )


def _images(annotations: HandAnnotations) -> Iterator[tuple[list[int], np.ndarray | InputError]]:
    """Each image once, with the rows of its hands; an image that cannot be read comes as the error that tells why."""
    grouped = [list(rows) for _, rows in groupby(range(len(annotations)), key=annotations.file_name.__getitem__)]
    for rows in progress(grouped, f"crop {annotations.camera[0]}"):
        try:
            yield rows, read_grey(annotations.image_path(rows[0]))
        except InputError as error:
            yield rows, error


def _check_share(
    annotations: HandAnnotations, readable: np.ndarray, unreadable: dict[str, str], bad_fraction: float
) -> None:
    bad = int((~readable).sum())
    if bad > bad_fraction * len(annotations):
        listed = "\n  ".join(unreadable.values())
        raise InputError(
            f"{annotations.images}: {bad} of {len(annotations)} hands of {annotations.camera[0]} are in images that "
            f"cannot be read, more than datasets.assembly_hands.bad_fraction = {bad_fraction} allows; fetch these "
            f"images again, or raise bad_fraction:\n  {listed}"
        )


def pair_samples(
    view_1: ViewSamples, view_2: ViewSamples
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Rows of the two views that show the same hand in the same frame, in the reference's order (2.3).

    Sequences come in order of their first hand in the annotation file, within a sequence frames likewise, then right
    before left. Raises InputError when the views share no hand.
    """
    sequence = np.concatenate([view_1.sequence, view_2.sequence])
    frame = np.concatenate([view_1.frame, view_2.frame])
    is_left = np.concatenate([view_1.is_left, view_2.is_left]).astype(np.int64)
    rank = np.concatenate([view_1.rank, view_2.rank])
    _, sequence_code = np.unique(sequence, return_inverse=True)
    _, frame_code = np.unique(frame, return_inverse=True)
    moment = sequence_code * (len(frame) + 1) + frame_code
    hand = 2 * moment + is_left

    def rows_by_hand(hands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Should a file annotate a hand twice, the later annotation counts, as in the reference.
        distinct, reversed_row = np.unique(hands[::-1], return_index=True)
        return distinct, len(hands) - 1 - reversed_row

    hands_1, row_1 = rows_by_hand(hand[: len(view_1)])
    hands_2, row_2 = rows_by_hand(hand[len(view_1) :])
    shared, in_1, in_2 = np.intersect1d(hands_1, hands_2, assume_unique=True, return_indices=True)
    if not len(shared):
        raise InputError(
            f"cameras {view_1.camera} and {view_2.camera} share no hand in any frame ({len(view_1)} and {len(view_2)} "
            f"hands in sequences {_some(view_1.sequence)} and {_some(view_2.sequence)}); expected frames that both "
            "cameras annotate; leave this pair out of `pairs`, or check the annotations"
        )
    index_1, index_2 = row_1[in_1], row_2[in_2]
    order = np.lexsort(
        (is_left[index_1], _first_rank(moment, rank)[index_1], _first_rank(sequence_code, rank)[index_1])
    )
    return index_1[order], index_2[order]


def _first_rank(group: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """For every row, the smallest rank within its group."""
    _, member = np.unique(group, return_inverse=True)
    first = np.full(member.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, member, rank)
    return first[member]


def _some(names: np.ndarray) -> list[str]:
    distinct = np.unique(names).tolist()
    return distinct[:5] + ["..."] * (len(distinct) > 5)
