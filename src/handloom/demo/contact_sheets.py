"""Contact sheets of what the demo rendered, read back from the files: every second tile with its key points drawn."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handloom.datasets.assembly_hands_files import CALIBRATION_SUFFIX
from handloom.demo.renderer import project_from_world
from handloom.hand.joints import SNAP_BONES, SNAP_FROM_ASSEMBLY_HANDS, SNAP_FROM_RHD
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json
from handloom.runtime.images import evenly_spread, read_rgb, write_contact_sheet
from handloom.runtime.pickles import load_pickle

_FINGER_COLOURS = ((255, 190, 60), (90, 220, 90), (80, 200, 255), (140, 130, 255), (255, 110, 190))
_INVALID = (255, 40, 40)
_BOX_COLOURS = {"right": (255, 230, 0), "left": (0, 230, 255)}
_GAP_PX, _VIEWS = 4, 4
"""Between tiles; and how many cameras a headset has."""

Tile = UInt8[np.ndarray, "height width 3"]


def assembly_hands_sheet(
    annotations: tuple[Path, Path, Path], images: Path, picture: Path, rows_per_sequence: int = 3
) -> None:
    """Stage: rows of the four simultaneous views of a headset, spread over every sequence of a split.

    `annotations` are its data, calibration and joints; `images` holds the sequences' folders. Every second row shows
    joints (red where invalid) and boxes (yellow right, cyan left).
    """
    data, calibrations, joints = map(read_json, annotations)
    folders = {folder.name: folder for folder in images.iterdir()}
    by_frame: dict[str, dict[int, list[tuple[dict, dict]]]] = {}
    for image, annotation in zip(data["images"], data["annotations"], strict=True):
        by_frame.setdefault(image["seq_name"], {}).setdefault(image["frame_idx"], []).append((image, annotation))
    tiles: list[Tile] = []
    for sequence, frames in by_frame.items():
        numbers = list(frames)
        for place in evenly_spread(len(numbers), rows_per_sequence):
            labelled = len(tiles) // _VIEWS % 2
            world = np.array(joints["annotations"][sequence][f"{numbers[place]:06d}"]["world_coord"])
            for image, annotation in frames[numbers[place]]:
                tile = read_rgb(folders[sequence].joinpath(*Path(image["file_name"]).parts[-2:]))
                if labelled:
                    tile = _with_assembly_labels(tile, world, image, annotation, calibrations["calibration"][sequence])
                tiles.append(cv2.resize(tile, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA))
    write_contact_sheet(picture, tiles, _VIEWS, _GAP_PX)


def _with_assembly_labels(tile: Tile, world_mm: np.ndarray, image: dict, annotation: dict, calibration: dict) -> Tile:
    camera = image["camera"] + CALIBRATION_SUFFIX
    extrinsics = np.array(calibration["extrinsics"][f"{image['frame_idx']:06d}"][camera])
    pixels, _ = project_from_world(world_mm, extrinsics, np.array(calibration["intrinsics"][camera]))
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


def rhd_sheet(folder: Path, picture: Path, rows: int = 4, columns: int = 7) -> None:
    """Stage: pictures of RHD_published_v2/{split}, both hands drawn on every second one."""
    annotations = load_pickle(folder / f"anno_{folder.name}.pickle")
    numbers, tiles = sorted(annotations), []
    for place, number in enumerate(evenly_spread(len(numbers), rows * columns)):
        index = numbers[number]
        tile = read_rgb(folder / "color" / f"{index:05d}.png").copy()
        if place % 2:
            for start in (0, 21):
                hand = np.asarray(annotations[index]["uv_vis"])[start + np.array(SNAP_FROM_RHD)]
                _draw_hand(tile, hand[:, :2], hand[:, 2] > 0)
        tiles.append(tile)
    write_contact_sheet(picture, tiles, columns, _GAP_PX)


def ganerated_sheet(folder: Path, picture: Path, rows: int = 4, columns: int = 8) -> None:
    """Stage: pictures of GANeratedHands_Release/data without and with objects; every second pair shows joints."""
    kinds = [sorted((folder / kind).glob("*/*_color_composed.png")) for kind in ("noObject", "withObject")]
    pairs = list(zip(*kinds, strict=False))
    if not pairs:
        raise InputError(f"{folder}: holds no pictures; expected noObject/NNNN/*_color_composed.png; render them first")
    tiles = []
    for place, number in enumerate(evenly_spread(len(pairs), rows * columns // 2)):
        for path in pairs[number]:
            tile = read_rgb(path).copy()
            if place % 2:
                text = path.with_name(path.name.replace("color_composed.png", "joint2D.txt")).read_text()
                _draw_hand(tile, np.array(text.split(","), float).reshape(21, 2), np.ones(21, bool))
            tiles.append(tile)
    write_contact_sheet(picture, tiles, columns, _GAP_PX)


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
