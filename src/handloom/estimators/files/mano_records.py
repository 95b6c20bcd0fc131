"""MANO's parameters of hands in pictures, as HaMeR and WiLoR give them, from .json and .npz files under their names.

Both networks see a crop of 256 pixels, in which a left hand is mirrored, and tell the pose of MANO's right hand along
the crop's axes, and its place by (s, t_x, t_y): with their focal length of 5000 pixels the translation is
(t_x, t_y, 2 * 5000 / (256 s)) (forward_step in hamer/models/hamer.py of https://github.com/geopavlakos/hamer; alike in
wilor/models/wilor.py of https://github.com/rolpotamias/WiLoR). Their demos turn t_x back for left hands and carry the
place over to the whole picture, whose focal length is 5000 / 256 times its longer side (cam_crop_to_full in
hamer/utils/renderer.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import roma
import torch
from jaxtyping import Float64

from handloom.estimators.files.tool_hands import ToolCamera, ToolHands
from handloom.geometry.bounds import are_rotations, rotation_fault, turn_fault
from handloom.hand.joints import Side
from handloom.hand.mano_files import MANO_VERTEX_COUNT
from handloom.runtime.errors import InputError, listed
from handloom.runtime.files import read_json
from handloom.runtime.npz import read_npz
from handloom.runtime.reading import MEGABYTE

SUFFIXES = (".json", ".npz")
_CROP_FOCAL_PX, _CROP_PX = 5000.0, 256.0
_MOST_BYTES = 1000 * MEGABYTE
_DEEPEST = 5
_SAME_PLACE = 0.02
"""Of the box's side: so far two tellings of one hand's place may lie apart."""


class _Value(NamedTuple):
    """A value of a hand: the names that it is known by, and how many numbers it may have."""

    names: tuple[str, ...]
    counts: tuple[int, ...]


_PICTURE = (
    *("img_name", "image_name", "imgname", "img_path", "image_path", "im_path", "im_paths", "img_fn", "image", "file"),
    *("file_name", "filename", "frame", "frame_id", "frame_idx", "frame_index", "frame_number"),
)
_SIDE = ("is_right", "right", "side", "hand_side", "handedness")
_VALUES = {
    "orient": _Value(("global_orient", "mano_global_orient", "pred_global_orient"), (3, 9)),
    "pose": _Value(("hand_pose", "mano_hand_pose", "pred_hand_pose"), (45, 135)),
    "shape": _Value(("betas", "mano_betas", "mano_hand_betas", "pred_betas", "shape"), (10,)),
    "crop": _Value(("pred_cam",), (3,)),
    "translation": _Value(("pred_cam_t_full", "cam_t_full", "cam_t.full", "cam_t"), (3,)),
    "focal": _Value(("scaled_focal_length", "focal_length_full", "focal", "focal_length"), (1, 2)),
    "size": _Value(("img_size", "image_size"), (2,)),
    "centre": _Value(("box_center",), (2,)),
    "side": _Value(("box_size",), (1,)),
    "box": _Value(("hand_bbox", "bbox", "box"), (4, 5)),
    "joints": _Value(("pred_keypoints_3d", "keypoints_3d", "joints"), (63,)),
    "vertices": _Value(("pred_vertices", "verts", "vertices"), (3 * MANO_VERTEX_COUNT,)),
}
_OF_FILE = ("focal", "size")
"""What may be told once for all hands."""
_PLACES = ("crop", "centre", "side"), ("translation", "focal", "size")
"""What tells where in the picture a hand is: in the crop, or in the whole picture."""
_KNOWN = {*_PICTURE, *_SIDE, *(name for value in _VALUES.values() for name in value.names)}
_ADVICE = "docs/your_own_video.md lists the names and sizes"


class _Hand(NamedTuple):
    where: str
    picture: str
    is_right: bool
    seen: bool
    """Whether it is one: NaN stands for none."""
    values: dict[str, np.ndarray]


def read_mano_records(files: Sequence[Path], where: Path, side: Side, side_advice: str) -> ToolHands:
    """The hands of a side in .json and .npz files: one file of all pictures, or one of each, named as it.

    Pictures without such a hand have a row without numbers. Raises InputError for files that are damaged or lack a
    value, and for hands of the other side only, with `side_advice`.
    """
    hands: list[_Hand] = []
    pictures: dict[str, None] = {}
    for path, own_name in zip(files, _names_of(files), strict=True):
        for picture, entry in _entries(_content(path), own_name, str(path)):
            found = [] if entry is None else list(_hands_of(entry, picture, path))
            hands += [hand for hand in found if hand.seen]
            pictures |= dict.fromkeys([hand.picture for hand in found] or [picture])
    right = side == "right"
    chosen = [hand for hand in hands if hand.is_right == right]
    if hands and not chosen:
        other = "left" if right else "right"
        raise InputError(
            f"{where}: all its {len(hands)} hands are {other} ones (is_right {int(not right)}), but a {side} hand was "
            f"asked for; {side_advice}"
        )
    if not chosen:
        raise InputError(f"{where}: holds no hand in {len(pictures)} pictures; expected MANO's parameters; {_ADVICE}")
    return _as_tool_hands(chosen, where, side, list(pictures))


def _names_of(files: Sequence[Path]) -> list[str]:
    """What files are named by, which may be pictures: without the number of the hand that tools hang onto it."""
    stems = [path.stem for path in files]
    heads = [(head, hand) for head, _, hand in (stem.rpartition("_") for stem in stems)]
    numbered = all(head and hand.isdecimal() and len(hand) <= 2 for head, hand in heads)
    pictures = {head for head, _ in heads}
    # Else the last number is the picture's.
    if numbered and 1 < len(pictures) < len(files):
        return [head for head, _ in heads]
    return stems


def _content(path: Path) -> Any:
    advice = "save the tool's results as plain arrays or numbers (np.savez, json.dump), or fetch the file again"
    if path.suffix.lower() == ".json":
        return read_json(path, "hands in JSON", advice, most_bytes=_MOST_BYTES)
    return read_npz(path, "arrays of hands", advice)


def _entries(
    content: Any, name: str, where: str, outer: Mapping[str, Any] | None = None, depth: int = 0
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The pictures' names and what is told of hands in them; None for a picture in which none is told.

    `outer` is what was told of all hands within.
    """
    if depth > _DEEPEST:
        raise InputError(f"{where}: is nested {depth} deep; expected hands in lists, or by their pictures; {_ADVICE}")
    if isinstance(content, list | tuple):
        for each in content:
            yield from _entries(each, name, where, outer, depth + 1)
        if not content:
            yield name, None
    elif isinstance(content, Mapping):
        entry = {**(outer or {}), **_flat(content)}
        if any(key in entry for key in (*_SIDE, *_VALUES["orient"].names, *_VALUES["joints"].names)):
            yield name, entry
            return
        told = [str(entry[key]) for key in _PICTURE if isinstance(entry.get(key), str | int)]
        inside = {str(key): value for key, value in content.items() if isinstance(value, list | Mapping)}
        inside = {key: value for key, value in inside.items() if key not in _KNOWN}
        for key, value in inside.items():
            yield from _entries(value, told[0] if told else key, where, entry, depth + 1)
        if not inside:
            yield (told[0] if told else name), None
    else:
        raise InputError(f"{where}: holds {type(content).__name__}, but hands were expected; {_ADVICE}")


def _flat(content: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """The known values of a mapping, and of those in it, such as wilor_preds and pred_mano_params."""
    found = {str(key): value for key, value in content.items() if str(key) in _KNOWN}
    inner = [value for value in content.values() if isinstance(value, Mapping)]
    # Hands by their pictures, or by right and left, are no parts of one.
    if depth < 2 and len(inner) <= 2 and (found or depth):
        for value in inner:
            found = {**_flat(value, depth + 1), **found}
    return found


def _hands_of(entry: Mapping[str, Any], picture: str, path: Path) -> Iterator[_Hand]:
    """The hands of one entry, which holds one, or arrays of several."""
    where = f"{path}: {picture}" if picture != path.stem else str(path)
    key = next((name for name in _SIDE if name in entry), None)
    if key is None:
        raise InputError(f"{where}: does not tell which hand it is; save is_right (1 or 0), too; {_ADVICE}")
    sides = [_is_right(value, f"{where}: {key}") for value in np.ravel(np.array(entry[key])).tolist()]
    count = len(sides)
    values = {name: _numbers(entry, value, count, where, shared=name in _OF_FILE) for name, value in _VALUES.items()}
    names = next((entry[name] for name in _PICTURE if name in entry), None)
    told = [picture] if names is None else [str(name) for name in np.ravel(np.array(names)).tolist()]
    if len(told) not in (1, count):
        raise InputError(f"{where}: names {len(told)} pictures for {count} hands; expected one for each; {_ADVICE}")
    told = told * count if len(told) == 1 else told
    for row, (is_right, name) in enumerate(zip(sides, told, strict=True)):
        own = {key: value[row] for key, value in values.items() if value is not None}
        seen = all(np.isfinite(own[key]).all() for key in ("orient", "pose", "joints") if key in own)
        yield _Hand(where, name, is_right, seen, own)


def _is_right(value: Any, where: str) -> bool:
    if isinstance(value, str) and value.strip().lower() in ("right", "r", "left", "l"):
        return value.strip().lower().startswith("r")
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise InputError(f"{where} is {value!r}; expected 1 for a right hand and 0 for a left one, or right and left")


def _numbers(
    entry: Mapping[str, Any], value: _Value, count: int, where: str, *, shared: bool
) -> Float64[np.ndarray, "hands numbers"] | None:
    """A value of all hands of an entry, a row each; None where the entry lacks it."""
    name = next((each for each in value.names if entry.get(each) is not None), None)
    if name is None:
        return None
    try:
        numbers = np.array(entry[name], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {name} holds no numbers, or lists of several lengths; {_ADVICE}") from error
    for each in value.counts:
        if numbers.size == count * each:
            return numbers.reshape(count, each)
    if shared and numbers.size in value.counts:
        return np.tile(numbers.reshape(1, -1), (count, 1))
    wanted = " or ".join(map(str, value.counts))
    raise InputError(
        f"{where}: {name} has the shape {numbers.shape}, but {wanted} numbers for each of {count} hands were expected; "
        f"{_ADVICE}"
    )


def _as_tool_hands(hands: Sequence[_Hand], where: Path, side: Side, pictures: Sequence[str]) -> ToolHands:
    """Rows of the hands, and empty ones of the pictures without."""
    shared = set.intersection(*(set(hand.values) for hand in hands))
    posed = {"orient", "pose", "shape"} <= shared
    if not posed and "joints" not in shared:
        lacking = [_VALUES[name].names[0] for name in ("orient", "pose", "shape") if name not in shared]
        raise InputError(f"{where}: lacks {' and '.join(lacking)} of some hands, and has no joints instead; {_ADVICE}")
    silent = [name for name in pictures if name not in {hand.picture for hand in hands}]
    rows = len(hands) + len(silent)

    def spread(values: np.ndarray) -> np.ndarray:
        filled = np.full((rows, *values.shape[1:]), np.nan)
        filled[: len(hands)] = values
        return filled

    values = {name: np.stack([hand.values[name] for hand in hands]) for name in shared}
    rotations = _rotations(values, hands, side) if posed else None
    camera, box = _camera(values, hands), None
    if {"centre", "side"} <= shared:
        box = np.hstack([values["centre"] - values["side"] / 2, values["centre"] + values["side"] / 2])
    elif "box" in shared:
        box = values["box"][:, :4]
    size = None
    if "size" in shared:
        if (values["size"] != values["size"][0]).any():
            raise InputError(f"{where}: img_size differs between hands; give those of one video; {_ADVICE}")
        width, height = values["size"][0].round().astype(int).tolist()
        size = (width, height)
    joints, vertices = (
        spread(values[name].reshape(len(hands), -1, 3)) if name in shared else None for name in ("joints", "vertices")
    )
    return ToolHands(
        where,
        side,
        (*(hand.picture for hand in hands), *silent),
        size,
        joints_m=joints,
        vertices_m=vertices,
        rotations=None if rotations is None else spread(rotations),
        shape=spread(values["shape"]) if posed else None,
        camera=ToolCamera(*map(spread, camera)),
        box_px=None if box is None else spread(box),
    )


def _rotations(
    values: Mapping[str, np.ndarray], hands: Sequence[_Hand], side: Side
) -> Float64[np.ndarray, "hands 16 3 3"]:
    """Of MANO's right hand, from matrices or rotation vectors."""
    parts = []
    for name in ("orient", "pose"):
        given = values[name]
        if given.shape[1] in (3, 45):
            given = given.reshape(len(given), -1, 3)
            if fault := turn_fault(given):
                raise InputError(f"{hands[0].where}: {_VALUES[name].names[0]} {fault}")
            parts.append(roma.rotvec_to_rotmat(torch.from_numpy(given)).numpy())
            continue
        given = given.reshape(len(given), -1, 3, 3)
        for hand, matrices in zip(hands, given, strict=True):
            good = are_rotations(matrices)
            if not good.all():
                fault = rotation_fault(matrices[int(np.argmin(good))])
                raise InputError(f"{hand.where}: {_VALUES[name].names[0]} {fault}")
        parts.append(given)
    return np.concatenate(parts, axis=1)


def _camera(values: Mapping[str, np.ndarray], hands: Sequence[_Hand]) -> ToolCamera:
    """The crop's camera in the whole picture's pixels, which is what the network saw by, else the whole picture's.

    Raises InputError where both are told and do not put the hand into one place.
    """
    where, cameras = hands[0].where, []
    if values.keys() >= set(_PLACES[0]):
        scale, side = values["crop"][:, :1], values["side"]
        if not (scale > 0).all():
            row = int(np.argmin(scale))
            raise InputError(f"{hands[row].where}: pred_cam begins with {scale[row, 0]:g}; expected a positive scale")
        depth = 2 * _CROP_FOCAL_PX / (_CROP_PX * scale)
        shift = np.hstack([values["crop"][:, 1:], depth])
        cameras.append(ToolCamera(_CROP_FOCAL_PX / _CROP_PX * side[:, 0], values["centre"], shift))
    if values.keys() >= set(_PLACES[1]):
        if not (values["translation"][:, 2] > 0).all() or not (values["focal"] > 0).all():
            raise InputError(f"{where}: its hands are behind the camera, by cam_t and the focal length; {_ADVICE}")
        cameras.append(ToolCamera(values["focal"][:, 0], values["size"] / 2, values["translation"]))
    if not cameras:
        lacking = [_VALUES[key].names[0] for place in _PLACES for key in place if key not in values]
        ways = ", or ".join(", ".join(_VALUES[key].names[0] for key in place) for place in _PLACES)
        raise InputError(
            f"{where}: does not tell where in the picture its hands are: it lacks {listed(lacking)}; expected {ways}; "
            f"{_ADVICE}"
        )
    if len(cameras) == 2:
        origin = np.zeros((len(hands), 1, 3))
        apart = np.linalg.norm(cameras[0].project(origin) - cameras[1].project(origin), axis=-1)[:, 0]
        row = int(np.argmax(apart / values["side"][:, 0]))
        if apart[row] > _SAME_PLACE * values["side"][row, 0]:
            raise InputError(
                f"{hands[row].where}: pred_cam in its box and cam_t put the hand {apart[row]:.0f} pixels apart; "
                "expected box_center and box_size of the square that the network saw and the focal length "
                "(scaled_focal_length), both of the whole picture, and for left hands pred_cam as the demo turns it"
            )
    return cameras[0]
