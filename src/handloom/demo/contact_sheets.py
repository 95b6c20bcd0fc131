"""Contact sheets of what the demo rendered, read back from the files: every second tile with its key points drawn."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from handloom.demo.rhd import RhdSplit
from handloom.demo.sequences import Split
from handloom.hand.joints import SNAP_BONES, SNAP_FROM_ASSEMBLY_HANDS, SNAP_FROM_RHD
from handloom.runtime.errors import InputError
from handloom.runtime.files import atomic_path, read_json
from handloom.runtime.images import read_rgb
from handloom.runtime.pickles import load_pickle

_FINGER_COLOURS = ((255, 190, 60), (90, 220, 90), (80, 200, 255), (140, 130, 255), (255, 110, 190))
_INVALID = (255, 40, 40)
_BOX_COLOURS = {"right": (255, 230, 0), "left": (0, 230, 255)}
_GAP_PX = 4

Tile = UInt8[np.ndarray, "height width 3"]


def assembly_hands_sheet(
    root: Path, split: Split, output: Path, *, rows_per_sequence: int = 3, version: str = "v1-1"
) -> None:
    """Rows of the four simultaneous views of a headset, spread over every sequence of a split.

    Every second row shows joints (red where invalid) and boxes (yellow right, cyan left).
    Raises InputError when the split is not there.
    """
    folder = root / "annotations" / split
    data = read_json(folder / f"assemblyhands_{split}_ego_data_{version}.json")
    calibrations = read_json(folder / f"assemblyhands_{split}_ego_calib_{version}.json")["calibration"]
    joints = read_json(folder / f"assemblyhands_{split}_joint_3d_{version}.json")["annotations"]
    by_frame: dict[str, dict[int, list[tuple[dict, dict]]]] = {}
    for image, annotation in zip(data["images"], data["annotations"], strict=True):
        by_frame.setdefault(image["seq_name"], {}).setdefault(image["frame_idx"], []).append((image, annotation))
    rows: list[list[Tile]] = []
    for sequence, frames in by_frame.items():
        numbers = list(frames)
        for number in _spread(numbers, rows_per_sequence):
            tiles = []
            for image, annotation in frames[number]:
                tile = read_rgb(root / "images" / image["file_name"])
                if len(rows) % 2:
                    world = np.array(joints[sequence][f"{number:06d}"]["world_coord"])
                    tile = _with_assembly_labels(tile, world, image, annotation, calibrations[sequence])
                tiles.append(cv2.resize(tile, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA))
            rows.append(tiles)
    _write_sheet(output, rows)


def _with_assembly_labels(tile: Tile, world_mm: np.ndarray, image: dict, annotation: dict, calibration: dict) -> Tile:
    camera = f"{image['camera']}_mono10bit"
    extrinsics = np.array(calibration["extrinsics"][f"{image['frame_idx']:06d}"][camera])
    pixels = (world_mm @ extrinsics[:, :3].T + extrinsics[:, 3]) @ np.array(calibration["intrinsics"][camera]).T
    pixels = pixels[:, :2] / pixels[:, 2:]
    valid = np.array(annotation["joint_valid"]) > 0
    tile = tile.copy()
    for start, side in ((0, "right"), (21, "left")):
        order = start + np.array(SNAP_FROM_ASSEMBLY_HANDS)
        _draw_hand(tile, pixels[order], valid[order])
        box = annotation["bbox"][side]
        if box is not None:
            corners = np.rint(box).astype(int).tolist()
            cv2.rectangle(tile, tuple(corners[:2]), tuple(corners[2:]), _BOX_COLOURS[side], 1, cv2.LINE_AA)
    return tile


def rhd_sheet(folder: Path, split: RhdSplit, output: Path, *, rows: int = 4, columns: int = 7) -> None:
    """Pictures of RHD_published_v2/{split}, both hands drawn on every second one."""
    annotations = load_pickle(folder / f"anno_{split}.pickle")
    tiles = []
    for place, index in enumerate(_spread(sorted(annotations), rows * columns)):
        tile = read_rgb(folder / "color" / f"{index:05d}.png").copy()
        if place % 2:
            for start in (0, 21):
                hand = np.asarray(annotations[index]["uv_vis"])[start + np.array(SNAP_FROM_RHD)]
                _draw_hand(tile, hand[:, :2], hand[:, 2] > 0)
        tiles.append(tile)
    _write_sheet(output, _in_rows(tiles, columns))


def ganerated_sheet(folder: Path, output: Path, *, rows: int = 4, columns: int = 8) -> None:
    """Pictures of GANeratedHands_Release/data, without and with objects in turn; every second pair shows joints."""
    kinds = [sorted((folder / kind).glob("*/*_color_composed.png")) for kind in ("noObject", "withObject")]
    pairs = _spread(list(zip(*kinds, strict=False)), rows * columns // 2)
    if not pairs:
        raise InputError(f"{folder}: holds no pictures; expected noObject/NNNN/*_color_composed.png; render them first")
    tiles = []
    for place, pair in enumerate(pairs):
        for path in pair:
            tile = read_rgb(path).copy()
            if place % 2:
                text = path.with_name(path.name.replace("color_composed.png", "joint2D.txt")).read_text()
                _draw_hand(
                    tile, np.array([float(value) for value in text.split(",")]).reshape(21, 2), np.ones(21, bool)
                )
            tiles.append(tile)
    _write_sheet(output, _in_rows(tiles, columns))


def _draw_hand(tile: Tile, pixels: Float[np.ndarray, "21 2"], valid: np.ndarray) -> None:
    # OpenCV clips lines itself, but not coordinates that no 32-bit integer holds.
    points = np.clip(np.nan_to_num(pixels), -10_000, 10_000)
    points = np.rint(points).astype(int)
    for parent, joint in SNAP_BONES:
        colour = _FINGER_COLOURS[(joint - 1) // 4]
        cv2.line(tile, points[parent].tolist(), points[joint].tolist(), colour, 1, cv2.LINE_AA)
    for joint in range(21):
        colour = _FINGER_COLOURS[max(joint - 1, 0) // 4] if valid[joint] else _INVALID
        cv2.circle(tile, points[joint].tolist(), 2, colour, -1 if valid[joint] else 1, cv2.LINE_AA)


def _spread(items: Sequence, count: int) -> list:
    """At most `count` items, evenly spread over all of them."""
    if not items:
        return []
    chosen = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))
    return [items[index] for index in chosen]


def _in_rows(tiles: list[Tile], columns: int) -> list[list[Tile]]:
    return [tiles[start : start + columns] for start in range(0, len(tiles), columns)]


def _write_sheet(output: Path, rows: list[list[Tile]]) -> None:
    """Tiles of one size on white, as PNG."""
    if not rows:
        raise InputError(f"{output}: nothing to show; the data set holds no pictures, render it first")
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * (height + _GAP_PX), columns * (width + _GAP_PX), 3), 255, np.uint8)
    for row, tiles in enumerate(rows):
        for column, tile in enumerate(tiles):
            top, left = row * (height + _GAP_PX), column * (width + _GAP_PX)
            sheet[top : top + height, left : left + width] = tile
    with atomic_path(output) as temporary:
        Image.fromarray(sheet).save(temporary)
