"""AssemblyHands-ego in its original layout: annotations, calibration and 3D joints of a split as columns.

Layout, below the data set's root::

    annotations/{split}/assemblyhands_{split}_ego_data_{version}.json      images and hand boxes (COCO style)
    annotations/{split}/assemblyhands_{split}_ego_calib_{version}.json     intrinsics, extrinsics (millimetres)
    annotations/{split}/assemblyhands_{split}_joint_3d_{version}.json      42 world joints (millimetres) a frame
    images/<file_name>
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from handloom.datasets import AssemblyHandsSettings
from handloom.hand.joints import SNAP_FROM_ASSEMBLY_HANDS
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json
from handloom.runtime.reading import MEGABYTE

HEADSET_CAMERAS: Mapping[str, tuple[str, str, str, str]] = {
    "headset1": ("HMC_21176875", "HMC_21176623", "HMC_21110305", "HMC_21179183"),
    "headset2": ("HMC_84346135", "HMC_84347414", "HMC_84355350", "HMC_84358933"),
}
"""The four cameras of each headset; the papers' camera 1 comes first."""

_MOST_BYTES = 4000 * MEGABYTE
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
CALIBRATION_SUFFIX = "_mono10bit"


@dataclass(frozen=True)
class HandAnnotations:
    """The annotated hands of a split as columns, in the order of the annotation file and right before left.

    Joints are in SNAP order, in millimetres and the world frame; a camera maps them by `R x + t`.
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
    images: Path

    def __len__(self) -> int:
        return len(self.rank)

    def __getitem__(self, rows: np.ndarray) -> "HandAnnotations":
        """The hands that a mask or an index array picks."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return HandAnnotations(**{name: value[rows] if name != "images" else value for name, value in columns.items()})

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


class _Boxes(TypedDict):
    right: tuple[float, float, float, float] | None
    left: tuple[float, float, float, float] | None


class _Image(TypedDict):
    id: int
    seq_name: str
    camera: str
    frame_idx: int
    file_name: str


class _Annotation(TypedDict):
    image_id: int
    bbox: _Boxes
    joint_valid: Annotated[list[float], Field(min_length=42, max_length=42)] | None


class _Data(TypedDict):
    images: list[_Image]
    annotations: list[_Annotation]


_Row3 = tuple[float, float, float]
_Row4 = tuple[float, float, float, float]


class _SequenceCalibration(TypedDict):
    intrinsics: dict[str, tuple[_Row3, _Row3, _Row3]]
    extrinsics: dict[str, dict[str, tuple[_Row4, _Row4, _Row4]]]


class _Calibration(TypedDict):
    calibration: dict[str, _SequenceCalibration]


class _FrameJoints(TypedDict):
    world_coord: Annotated[list[_Row3], Field(min_length=42, max_length=42)]


class _Joints(TypedDict):
    annotations: dict[str, dict[str, _FrameJoints]]


@dataclass(frozen=True)
class AnnotationFiles:
    """The three annotation files of a split and the place of the invalid list that users may have."""

    data: Path
    calibration: Path
    joints: Path
    invalid: Path


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
    """Read the hands of a split that the given cameras see.

    Raises InputError when a file is missing or cut short, a key is missing, joints are NaN, validity is null (as in the
    published test split), a box is not finite, or a camera or frame has no calibration or no joints.
    """
    files = annotation_files(dataset, split)
    hands = _hands_of(files.data, frozenset(cameras))
    joints_world_mm = _joints_of(hands, files.joints)
    intrinsics, extrinsics = _cameras_of(hands, files.calibration)
    return HandAnnotations(
        **hands | {"joint_valid": _own_joints(hands["joint_valid"], hands["is_left"])},
        joints_world_mm=joints_world_mm,
        intrinsics_px=intrinsics,
        cam_from_world_rotation=extrinsics[:, :, :3],
        cam_from_world_translation_mm=extrinsics[:, :, 3],
        images=Path(dataset.root) / "images",
    )


Document = TypeVar("Document")


def _read(path: Path, layout: type[Document]) -> Document:
    """A JSON file checked against the layout; keys that are not named there are ignored."""
    absent = (
        "set datasets.assembly_hands.root to the folder that holds annotations/ and images/, and .version to the "
        "suffix of the files"
    )
    content = read_json(
        path, "a JSON file of AssemblyHands", "fetch the file again", absent=absent, most_bytes=_MOST_BYTES
    )
    try:
        return TypeAdapter(layout).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise InputError(
            f"{path}: {first['msg']} at {where} ({error.error_count()} problem(s) in all); expected the AssemblyHands "
            "layout; fetch the file again"
        ) from error


def _hands_of(path: Path, cameras: frozenset[str]) -> dict[str, Any]:
    """The columns that the data file alone knows; validity is still that of both hands, in the data set's order."""
    data = _read(path, _Data)
    image_of_id = {image["id"]: image for image in data["images"]}
    rows: list[tuple[Any, ...]] = []
    unlabelled = 0
    for position, annotation in enumerate(data["annotations"]):
        image = image_of_id.get(annotation["image_id"])
        if image is None:
            raise InputError(
                f"{path}: annotation {position} names image_id {annotation['image_id']}, which is not among the "
                "images; the file is inconsistent, fetch it again"
            )
        if image["camera"] not in cameras:
            continue
        if annotation["joint_valid"] is None:
            unlabelled += 1
            continue
        for hand, box in enumerate((annotation["bbox"]["right"], annotation["bbox"]["left"])):
            if box is not None:
                seen = image["file_name"], image["seq_name"], image["frame_idx"], image["camera"]
                rows.append((2 * position + hand, *seen, hand == 1, box, annotation["joint_valid"]))
    if unlabelled:
        raise InputError(
            f"{path}: joint_valid is null in {unlabelled} annotations, but 42 numbers were expected; the published "
            "test split has no labels: set datasets.assembly_hands.split to val"
        )
    if not rows:
        raise InputError(
            f"{path}: none of its {len(data['annotations'])} annotations has a hand seen by "
            f"{', '.join(sorted(cameras))}; expected at least one; check datasets.assembly_hands.split"
        )
    names = ("rank", "file_name", "sequence", "frame", "camera", "is_left", "bbox_px", "joint_valid")
    hands = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    for file_name in map(PurePosixPath, np.unique(hands["file_name"]).tolist()):
        if file_name.is_absolute() or ".." in file_name.parts:
            raise InputError(
                f"{path}: file_name {str(file_name)!r} leaves the images folder; expected a path inside it"
            )
    for name, column in (("bbox", hands["bbox_px"]), ("joint_valid", hands["joint_valid"])):
        broken = ~np.isfinite(column).all(axis=1)
        if broken.any():
            raise InputError(
                f"{path}: {name} of {hands['file_name'][np.argmax(broken)]} is not finite ({broken.sum()} such "
                "hands); expected numbers; correct or remove them"
            )
    return hands


def _own_joints(
    values: Float[np.ndarray, "hands 42 *each"], is_left: Bool[np.ndarray, " hands"]
) -> Float[np.ndarray, "hands 21 *each"]:
    """Of values of both hands' joints those of the hand itself, in SNAP order."""
    of_sides = values.reshape(len(values), 2, 21, *values.shape[2:])
    return of_sides[np.arange(len(values)), is_left.astype(np.int64)][:, SNAP_FROM_ASSEMBLY_HANDS]


def _joints_of(hands: Mapping[str, np.ndarray], path: Path) -> Float[np.ndarray, "hands 21 3"]:
    """The joints of every hand in the world frame, millimetres."""
    annotations = _read(path, _Joints)["annotations"]
    frames, frame_of_hand = _distinct(hands["sequence"], hands["frame"])
    both = []
    for sequence, frame in frames:
        found = annotations.get(sequence, {}).get(f"{frame:06d}")
        if found is None:
            raise InputError(
                f"{path}: has no joints of sequence {sequence}, frame {frame:06d}, which the data file annotates; "
                "the files belong to different versions, fetch both again"
            )
        both.append(found["world_coord"])
    joints_mm = _own_joints(np.array(both, dtype=np.float64)[frame_of_hand], hands["is_left"])
    broken = ~np.isfinite(joints_mm).all(axis=(1, 2))
    if broken.any():
        row = int(np.argmax(broken))
        raise InputError(
            f"{path}: joints of sequence {hands['sequence'][row]}, frame {hands['frame'][row]:06d} are NaN or infinite "
            f"({int(broken.sum())} hands in all), but finite millimetres were expected; fetch the file again, or set "
            "the boxes of these hands to null"
        )
    return joints_mm


def _cameras_of(
    hands: Mapping[str, np.ndarray], path: Path
) -> tuple[Float[np.ndarray, "hands 3 3"], Float[np.ndarray, "hands 3 4"]]:
    """Intrinsics of every hand's camera, and its rotation and translation (millimetres)."""
    calibration = _read(path, _Calibration)["calibration"]
    views, view_of_hand = _distinct(hands["sequence"], hands["frame"], hands["camera"])
    both = []
    for sequence, frame, camera in views:
        name = camera + CALIBRATION_SUFFIX
        found = calibration.get(sequence)
        if found is None:
            raise InputError(
                f"{path}: has no calibration of sequence {sequence}, which the data file annotates; found "
                f"{sorted(calibration)}; fetch both files again"
            )
        at_frame = found["extrinsics"].get(f"{frame:06d}")
        if at_frame is None:
            raise InputError(
                f"{path}: sequence {sequence} has no extrinsics of frame {frame:06d}, which the data file annotates; "
                "fetch both files again"
            )
        for part, known in (("intrinsics", found["intrinsics"]), (f"extrinsics of frame {frame:06d}", at_frame)):
            if name not in known:
                raise InputError(
                    f"{path}: camera {name} is missing from the {part} of sequence {sequence}; found {sorted(known)}; "
                    "add its calibration, or remove its images from the data file"
                )
        both.append((found["intrinsics"][name], at_frame[name]))
    intrinsics, extrinsics = (np.array(matrices, dtype=np.float64) for matrices in zip(*both, strict=True))
    broken = ~(np.isfinite(intrinsics).all(axis=(1, 2)) & np.isfinite(extrinsics).all(axis=(1, 2)))
    if broken.any():
        sequence, frame, camera = views[int(np.argmax(broken))]
        raise InputError(
            f"{path}: the calibration of {camera} in sequence {sequence}, frame {frame:06d} is not finite; "
            "fetch the file again"
        )
    return intrinsics[view_of_hand], extrinsics[view_of_hand]


def _distinct(*columns: np.ndarray) -> tuple[list[tuple[Any, ...]], Int[np.ndarray, " hands"]]:
    """The distinct rows of some columns in order of appearance, and which of them every row is."""
    index_of: dict[tuple[Any, ...], int] = {}
    rows = zip(*(column.tolist() for column in columns), strict=True)
    index = [index_of.setdefault(row, len(index_of)) for row in rows]
    return list(index_of), np.array(index, dtype=np.int64)
