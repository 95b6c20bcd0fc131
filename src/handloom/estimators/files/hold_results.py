"""What HOLD's generator leaves of its hand networks in `processed/`: of METRO and of HaMeR (v3d.npy and 2D joints).

The layouts are those that generator/scripts of https://github.com/zc-alexfan/hold reads: validate_metro.py,
validate_hamer.py and register_mano.py. HaMeR's files tell pictures and camera, METRO's do not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from handloom.datasets.numbered_pictures import numbered_pictures
from handloom.estimators.files.tool_hands import ToolHands
from handloom.hand.joints import SNAP_FROM_MANO21, Side
from handloom.hand.mano_files import MANO_VERTEX_COUNT
from handloom.runtime.errors import InputError
from handloom.runtime.images import image_size
from handloom.runtime.npz import read_npy
from handloom.runtime.pickled_npy import read_data

MESHES = ("v3d.npy", "v3d_ra.npy")
"""The second is METRO's own, an array without a dictionary."""
_CROP_PX = 224
_EDGE_PX = 0.5
"""METRO's pixels are counted from the picture's edge; HaMeR's, and ours, from the middle of the first one."""
_ADVICE = "run HOLD's generator again, and bring its processed/ folder"


def read_hold_results(folder: Path, side: Side, side_advice: str) -> ToolHands:
    """The hands of a side in a folder with v3d.npy, as METRO or HaMeR left it.

    Raises InputError for files that are missing, damaged or not of these layouts, and for hands of the other side only,
    with `side_advice`.
    """
    path = next(folder / name for name in MESHES if (folder / name).is_file())
    content = _dictionary(path) if path.name == MESHES[0] else {"v3d.right": read_npy(path, "METRO's meshes", _ADVICE)}
    _require_side(path, content, side, side_advice)
    vertices = _array(path, content, f"v3d.{side}", (MANO_VERTEX_COUNT, 3))
    if "K" not in content:
        return _of_metro(folder, path, vertices, side)
    intrinsics = _array(path, {"K": [_numbers(path, "K", content["K"])]}, "K", (3, 3))[0]
    pictures = _pictures(path, content)
    of_image = folder / "j2d.full.npy"
    if not of_image.is_file():
        raise InputError(f"{of_image}: no such file, which HaMeR's results have beside v3d.npy; {_ADVICE}")
    flat = _dictionary(of_image)
    if _pictures(of_image, flat) != pictures:
        raise InputError(f"{of_image}: is of other pictures than {path.name} beside it; {_ADVICE}")
    joints = _array(path, content, f"j3d.{side}", (21, 3)) if f"j3d.{side}" in content else None
    keypoints = _array(of_image, flat, f"j2d.{side}", (21, 2))
    _require_as_long(path, vertices, {f"j3d.{side}": joints, of_image.name: keypoints, "im_paths": pictures})
    width, height = (round(2 * float(centre)) for centre in intrinsics[:2, 2])
    order = list(SNAP_FROM_MANO21)
    return ToolHands(
        path,
        side,
        pictures,
        (width, height),
        keypoints_px=keypoints[:, order],
        joints_m=None if joints is None else joints[:, order],
        vertices_m=vertices,
    )


def _of_metro(folder: Path, path: Path, vertices: Float64[np.ndarray, "hands 778 3"], side: Side) -> ToolHands:
    boxes = read_npy(folder / "boxes.npy", "METRO's boxes (x0, y0, x1, y1), one a picture", _ADVICE)
    boxes = _array(folder / "boxes.npy", {"boxes": boxes}, "boxes", (4,))
    whole, crops = folder / "j2d.full.npy", folder / "j2d.crop.npy"
    if whole.is_file():  # outliers are gone there
        keypoints = _array(whole, _dictionary(whole), f"j2d.{side}", (21, 2))[:, list(SNAP_FROM_MANO21)]
    else:
        keypoints = _array(crops, {"j2d": read_npy(crops, "METRO's 21 joints in its crops", _ADVICE)}, "j2d", (21, 2))
    _require_as_long(path, vertices, {"boxes.npy": boxes, "2D joints": keypoints})
    if not whole.is_file():
        size = (boxes[:, 2:] - boxes[:, :2])[:, None]
        keypoints = boxes[:, None, :2] + keypoints / _CROP_PX * size
    pictures, size_px = _names_beside(folder, len(vertices))
    return ToolHands(
        path,
        side,
        pictures,
        size_px,
        tells_side=False,
        keypoints_px=keypoints - _EDGE_PX,
        vertices_m=vertices,
        box_px=boxes - _EDGE_PX,
    )


def _names_beside(folder: Path, count: int) -> tuple[tuple[str, ...], tuple[int, int] | None]:
    """Names of the pictures, by the crops or the pictures that HOLD keeps beside, and the pictures' size."""
    names: tuple[str, ...] = ()
    size = None
    for pictures in (folder / "crop_image", folder.parent / "images"):
        found = numbered_pictures(pictures) if pictures.is_dir() and any(pictures.iterdir()) else []
        if len(found) == count:
            names = names or tuple(path.name for path in found)
            # Of an archive's pictures only the names are there.
            size = image_size(found[0]) if pictures.name == "images" and found[0].stat().st_size else size
    return names, size


def _dictionary(path: Path) -> dict[str, Any]:
    return read_data(path, "one of HOLD's results of hand networks")


def _require_side(path: Path, content: Mapping[str, Any], side: Side, advice: str) -> None:
    there = {
        each: f"v3d.{each}" in content and bool(np.isfinite(_numbers(path, each, content[f"v3d.{each}"])).any())
        for each in ("right", "left")
    }
    other = "left" if side == "right" else "right"
    if not there[side] and there[other]:
        raise InputError(f"{path}: holds a {other} hand only (v3d.{other}), but a {side} hand was asked for; {advice}")
    if not there[side]:
        raise InputError(f"{path}: holds {sorted(map(str, content))[:8]}, but v3d.{side} was expected; {_ADVICE}")


def _pictures(path: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    names = content.get("im_paths", ())
    if not isinstance(names, list | tuple | np.ndarray) or not len(names) or not all(isinstance(n, str) for n in names):
        raise InputError(f"{path}: its im_paths are no list of pictures' names; {_ADVICE}")
    return tuple(str(name) for name in names)


def _numbers(path: Path, name: str, value: Any) -> np.ndarray:
    array = value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path}: {name} holds {array.dtype}, but numbers were expected; {_ADVICE}")
    return array


def _array(path: Path, content: Mapping[str, Any], name: str, of_row: tuple[int, ...]) -> np.ndarray:
    if name not in content:
        raise InputError(f"{path}: holds {sorted(map(str, content))[:8]}, but {name} was expected; {_ADVICE}")
    array = _numbers(path, name, content[name])
    if array.shape[1:] != of_row or not len(array):
        raise InputError(f"{path}: {name} has the shape {array.shape}, but {('T', *of_row)} was expected; {_ADVICE}")
    return np.asarray(array, np.float64)


def _require_as_long(path: Path, vertices: np.ndarray, others: Mapping[str, Any]) -> None:
    odd = {name: len(each) for name, each in others.items() if each is not None and len(each) != len(vertices)}
    if odd:
        raise InputError(f"{path}: is of {len(vertices)} pictures, but {odd} beside it; {_ADVICE}")
