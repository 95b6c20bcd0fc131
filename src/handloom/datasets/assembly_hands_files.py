"""The three JSON files of a split of AssemblyHands-ego, checked against their layout, as columns of hands.

Labels may be withheld, as in the published test splits: the file of joints absent, without a sequence, or with every
hand in one point; validity null, absent or nowhere 1. Such a sequence is unlabelled, and why is told; in any other one
every hand has joints and validity.
"""

import reprlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NotRequired, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field, Strict, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from handloom.geometry.bounds import are_rotations, intrinsics_fault, rotation_fault
from handloom.hand.joints import SNAP_FROM_ASSEMBLY_HANDS
from handloom.hand.proportions import in_one_point
from handloom.runtime.errors import InputError, listed
from handloom.runtime.files import read_json
from handloom.runtime.reading import MEGABYTE

_MOST_BYTES = 4000 * MEGABYTE
CALIBRATION_SUFFIX = "_mono10bit"


_Number = Annotated[float, Strict()]
_Whole = Annotated[int, Strict()]
"""Neither true nor a text stands for a number."""


class _Boxes(TypedDict):
    right: tuple[_Number, _Number, _Number, _Number] | None
    left: tuple[_Number, _Number, _Number, _Number] | None


class _Image(TypedDict):
    id: _Whole
    seq_name: str
    camera: str
    frame_idx: Annotated[_Whole, Field(ge=0, lt=2**31)]
    file_name: str
    width: NotRequired[_Number]
    height: NotRequired[_Number]


class _Annotation(TypedDict):
    image_id: _Whole
    bbox: _Boxes
    joint_valid: NotRequired[Annotated[list[float | None], Field(min_length=42, max_length=42)] | None]


class _Data(TypedDict):
    images: list[_Image]
    annotations: list[_Annotation]


_Row3 = tuple[_Number, _Number, _Number]
_Row4 = tuple[_Number, _Number, _Number, _Number]


class _SequenceCalibration(TypedDict):
    intrinsics: dict[str, tuple[_Row3, _Row3, _Row3]]
    extrinsics: dict[str, dict[str, tuple[_Row4, _Row4, _Row4]]]


class _Calibration(TypedDict):
    calibration: dict[str, _SequenceCalibration]


_Joint = tuple[_Number | None, _Number | None, _Number | None]


class _FrameJoints(TypedDict):
    world_coord: Annotated[list[_Joint], Field(min_length=42, max_length=42)] | None


class _Joints(TypedDict):
    annotations: dict[str, dict[str, _FrameJoints]]


@dataclass(frozen=True)
class AnnotationFiles:
    """The three annotation files of a split and the place of the invalid list that users may have.

    Where there is no file of joints, the split is unlabelled.
    """

    data: Path
    calibration: Path
    joints: Path
    invalid: Path


Document = TypeVar("Document")


def _read(path: Path, layout: type[Document]) -> Document:
    """A JSON file checked against the layout; keys that are not named there are ignored."""
    absent = (
        "set datasets.assembly_hands.root to the folder that holds annotations/ and images/, and .version to the "
        "suffix of the files"
    )
    expected = "a JSON file of AssemblyHands"
    content = read_json(path, expected, "fetch the file again", absent=absent, most_bytes=_MOST_BYTES)
    try:
        return TypeAdapter(layout).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise InputError(
            f"{path}: {first['msg']} at {where}, found {reprlib.repr(first['input'])} ({error.error_count()} "
            "problem(s) in all); expected the AssemblyHands layout; fetch the file again"
        ) from error


def hands_of(path: Path, cameras: frozenset[str], known: frozenset[str]) -> dict[str, np.ndarray]:
    """The columns that the data file alone knows; validity is that of both hands, NaN where the file has none.

    Images of cameras that are not `known` are named on stderr.
    """
    data = _read(path, _Data)
    foreign = Counter(image["camera"] for image in data["images"] if image["camera"] not in known)
    if foreign:
        print(
            f"{path}: {foreign.total()} of {len(data['images'])} images are left out, as no headset has their cameras "
            f"{listed(sorted(foreign))}; expected those of {listed(sorted(known))}",
            file=sys.stderr,
        )
    image_of_id = _images_by_id(path, data["images"])
    rows: list[tuple[Any, ...]] = []
    annotated: dict[int, int] = {}
    for position, annotation in enumerate(data["annotations"]):
        image = image_of_id.get(annotation["image_id"])
        if image is None:
            raise InputError(
                f"{path}: annotation {position} names image_id {annotation['image_id']}, which is not among the "
                "images; the file is inconsistent, fetch it again"
            )
        first = annotated.setdefault(image["id"], position)
        if first != position:
            raise InputError(
                f"{path}: annotations {first} and {position} are both of image {image['id']} ({image['file_name']}); "
                "expected one an image; remove the wrong one"
            )
        if image["camera"] not in cameras:
            continue
        seen = image["file_name"], image["seq_name"], image["frame_idx"], image["camera"]
        size = image.get("width", np.nan), image.get("height", np.nan)
        valid = annotation.get("joint_valid") or [None] * 42
        for hand, box in enumerate((annotation["bbox"]["right"], annotation["bbox"]["left"])):
            if box is not None:
                rows.append((2 * position + hand, *seen, hand == 1, box, size, valid))
    if not rows:
        raise InputError(
            f"{path}: none of its {len(data['annotations'])} annotations has a hand seen by "
            f"{', '.join(sorted(cameras))}; expected at least one; check datasets.assembly_hands.split"
        )
    names = ("rank", "file_name", "sequence", "frame", "camera", "is_left", "bbox_px", "picture_px", "joint_valid")
    hands = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    hands |= {name: hands[name].astype(np.float64) for name in ("joint_valid", "bbox_px", "picture_px")}
    for file_name in map(PurePosixPath, np.unique(hands["file_name"]).tolist()):
        if file_name.is_absolute() or ".." in file_name.parts:
            raise InputError(
                f"{path}: file_name {str(file_name)!r} leaves the images folder; expected a path inside it"
            )
    return hands


def _images_by_id(path: Path, images: Sequence[_Image]) -> dict[int, _Image]:
    """Images by their id; raises InputError for an id, a view of a moment or a picture that is there twice."""
    image_of_id: dict[int, _Image] = {}
    of_moment: dict[tuple[str, str, int], _Image] = {}
    of_file: dict[str, _Image] = {}
    for image in images:
        moment = image["seq_name"], image["camera"], image["frame_idx"]
        for what, first in (
            (f"id {image['id']}", image_of_id.setdefault(image["id"], image)),
            (
                f"frame {image['frame_idx']} of {image['camera']} in {image['seq_name']}",
                of_moment.setdefault(moment, image),
            ),
            (f"file_name {image['file_name']}", of_file.setdefault(image["file_name"], image)),
        ):
            if first is not image:
                shown = [f"{each['file_name']} (id {each['id']})" for each in (first, image)]
                raise InputError(
                    f"{path}: {what} is there twice, as {' and as '.join(shown)}; expected it once; remove one of them"
                )
    return image_of_id


def labels_of(
    hands: Mapping[str, np.ndarray], files: AnnotationFiles
) -> tuple[Float[np.ndarray, "hands 21"], Float[np.ndarray, "hands 21 3"], dict[str, str]]:
    """Validity, joints in the world frame (millimetres), and the sequences without labels with the reason.

    Hands of those have no valid joint, and NaN for joints. Raises InputError for a hand of any other sequence whose
    joints or validity are missing or no numbers.
    """
    valid = _own_joints(hands["joint_valid"], hands["is_left"])
    joints_mm, lacking = _joints_of(hands, files.joints)
    absent: dict[str, str] = {}
    for sequence in np.unique(hands["sequence"]).tolist():
        rows = hands["sequence"] == sequence
        if sequence in lacking:
            absent[sequence] = lacking[sequence]
        elif in_one_point(joints_mm[rows]).all():
            point = joints_mm[rows][0, 0].tolist()
            absent[sequence] = f"{files.joints.name} has all joints of a hand in one point, {point}"
        elif not np.isfinite(valid[rows]).any():
            absent[sequence] = f"{files.data.name} has no joint_valid"
        elif not (valid[rows] > 0).any():
            absent[sequence] = f"{files.data.name} calls no joint valid"
    unlabelled = np.isin(hands["sequence"], list(absent))
    for name, column, path in (("joint_valid", valid, files.data), ("joints", joints_mm, files.joints)):
        broken = ~np.isfinite(column).all(axis=tuple(range(1, column.ndim))) & ~unlabelled
        if broken.any():
            row = int(np.argmax(broken))
            raise InputError(
                f"{path}: {name} of sequence {hands['sequence'][row]}, frame {hands['frame'][row]:06d} are NaN, "
                f"infinite or null ({int(broken.sum())} hands in all), but other hands of the sequence have labels; "
                "fetch the file again, or set the boxes of these hands to null"
            )
    valid[unlabelled], joints_mm[unlabelled] = 0.0, np.nan
    return valid, joints_mm, {sequence: f"{sequence} has no labels: {why}" for sequence, why in absent.items()}


def _own_joints(
    values: Float[np.ndarray, "hands 42 *each"], is_left: Bool[np.ndarray, " hands"]
) -> Float[np.ndarray, "hands 21 *each"]:
    """Of values of both hands' joints those of the hand itself, in SNAP order."""
    of_sides = values.reshape(len(values), 2, 21, *values.shape[2:])
    return of_sides[np.arange(len(values)), is_left.astype(np.int64)][:, SNAP_FROM_ASSEMBLY_HANDS]


def _joints_of(hands: Mapping[str, np.ndarray], path: Path) -> tuple[Float[np.ndarray, "hands 21 3"], dict[str, str]]:
    """The joints of every hand in the world frame, millimetres, NaN for none; and which sequences have none at all."""
    annotations = _read(path, _Joints)["annotations"] if path.is_file() else {}
    why = f"{path.name} has none of it" if path.is_file() else f"there is no {path.name}"
    frames, frame_of_hand = _distinct(hands["sequence"], hands["frame"])
    both: list[Any] = []
    for sequence, frame in frames:
        found = annotations.get(sequence, {}).get(f"{frame:06d}")
        if found is None and annotations.get(sequence):
            raise InputError(
                f"{path}: has no joints of sequence {sequence}, frame {frame:06d}, which the data file annotates; "
                "the files belong to different versions, fetch both again"
            )
        both.append(None if found is None else found["world_coord"])
    values = np.array([[(None,) * 3] * 42 if each is None else each for each in both], dtype=np.float64)
    lacking = {sequence: why for sequence, _ in frames if not annotations.get(sequence)}
    return _own_joints(values[frame_of_hand], hands["is_left"]), lacking


def cameras_of_hands(
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
    faults = {
        int(view): rotation_fault(extrinsics[view, :, :3])
        for view in np.flatnonzero(~are_rotations(extrinsics[..., :3]))
    }
    faults |= {int(view): "is not finite" for view in np.flatnonzero(~np.isfinite(extrinsics).all(axis=(1, 2)))}
    for hand in np.unique(_distinct(hands["sequence"], hands["camera"])[1], return_index=True)[1].tolist():
        size_px = hands["picture_px"][hand]
        view = int(view_of_hand[hand])
        if fault := intrinsics_fault(intrinsics[view], size_px if np.isfinite(size_px).all() else None):
            faults[view] = fault
    if faults:
        view = min(faults)
        sequence, frame, camera = views[view]
        raise InputError(
            f"{path}: the calibration of {camera} in sequence {sequence}, frame {frame:06d} {faults[view]} "
            f"({len(faults)} such views); correct it, or fetch the file again"
        )
    return intrinsics[view_of_hand], extrinsics[view_of_hand]


def _distinct(*columns: np.ndarray) -> tuple[list[tuple[Any, ...]], Int[np.ndarray, " hands"]]:
    """The distinct rows of some columns in order of appearance, and which of them every row is."""
    index_of: dict[tuple[Any, ...], int] = {}
    rows = zip(*(column.tolist() for column in columns), strict=True)
    index = [index_of.setdefault(row, len(index_of)) for row in rows]
    return list(index_of), np.array(index, dtype=np.int64)
