"""Stage: the hand of every frame of one view."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from handloom.datasets.frames_file import read_frames_file
from handloom.footage.boxes_file import read_boxes
from handloom.footage.hands_file import FootageHands, camera_from_crop, pixel_rays, write_hands
from handloom.footage.seen_hands import HandFinder, SeenHands
from handloom.hand.joints import WRIST
from handloom.runtime.config.footage import FootagePairSettings, FootageSettings
from handloom.runtime.devices import computing_on
from handloom.runtime.errors import InputError

ViewName = Literal["left", "right"]


def find_hands(
    settings: FootageSettings,
    pair: FootagePairSettings,
    view: ViewName,
    frames: Path,
    frames_json: Path,
    networks: Sequence[Path | str],
    boxes: Path | str | None,
    output: Path,
    *,
    finder: HandFinder | None = None,
    device: str = "cpu",
    threads: int | None = None,
    code: str = "",
) -> None:
    """Find the hand in each frame and write hands.npz.

    `networks` are MediaPipe's two files (landmarks, palms) or DetNet's checkpoint first; `finder` replaces them. Frames
    without a hand are counted and `found` is False there. Raises InputError when the share of frames with a hand is
    below `least_hands`, or none has one, and as the readers of boxes and networks do.
    """
    listed = read_frames_file(frames_json)
    images = sorted(frames.glob("*.png"))
    if len(images) != len(listed.names):
        raise InputError(f"{frames}: holds {len(images)} frames, but {frames_json} lists {len(listed.names)}")
    boxes_px = read_boxes(Path(boxes), listed) if boxes else None
    with computing_on(device, threads):
        find = finder or configured_finder(settings, networks, device)
        seen = find(images, boxes_px, pair.side)
    _require_hands(settings, pair, view, seen, by_boxes=boxes_px is not None)
    hands = _along_camera(settings, pair, view, seen, (listed.width_px, listed.height_px))
    count = int(hands.found.sum())
    score = hands.presence[hands.found].mean()
    print(f"hand found in {count} of {len(images)} frames, mean score {score:.3f}", file=sys.stderr)
    write_hands(output, hands, side=pair.side, backend=settings.backend, code=code)


def configured_finder(settings: FootageSettings, networks: Sequence[Path | str], device: str) -> HandFinder:
    """The configured networks; raises InputError as their readers do."""
    if settings.backend == "detnet":
        from handloom.footage.detnet_hands import DetNetFinder

        return DetNetFinder.of(settings, Path(networks[0]), device)
    from handloom.footage.mediapipe_hands import MediaPipeFinder

    return MediaPipeFinder.of(Path(networks[0]), Path(networks[1]), settings.least_presence, device)


def _require_hands(
    settings: FootageSettings, pair: FootagePairSettings, view: ViewName, seen: SeenHands, *, by_boxes: bool
) -> None:
    count, frames = int(seen.found.sum()), len(seen.found)
    if count and count >= settings.least_hands * frames:
        return
    threshold = "least_presence" if settings.backend == "mediapipe" else "least_confidence"
    advice = (
        f"check {view}_boxes"
        if by_boxes
        else f"film the hand larger, brighter and without gloves, or give its boxes ({view}_boxes)"
    )
    raise InputError(
        f"{getattr(pair, view)}: the {view} view shows a hand in {count} of {frames} frames looked at; expected a "
        f"share of {settings.least_hands} (footage.least_hands) with a score of {getattr(settings, threshold)} "
        f"(footage.{threshold}); {advice}"
    )


def _along_camera(
    settings: FootageSettings,
    pair: FootagePairSettings,
    view: ViewName,
    seen: SeenHands,
    image_size_px: tuple[int, int],
) -> FootageHands:
    """Joints relative to the wrist, turned from the network's axes into the camera's."""
    mirrored = settings.backend == "detnet" and pair.side == "left"
    turns = np.full((len(seen.found), 3, 3), np.nan)
    field_of_view = pair.field_of_view_deg[0 if view == "left" else 1]
    rows = seen.found
    turns[rows] = camera_from_crop(
        seen.centre_px[rows], seen.angle_rad[rows], image_size_px, field_of_view, settings.ray_share, mirrored=mirrored
    )
    joints = seen.joints - seen.joints[:, WRIST, None]
    return FootageHands(
        found=seen.found,
        centre_px=seen.centre_px,
        side_px=seen.side_px,
        angle_rad=seen.angle_rad,
        presence=seen.presence,
        handedness=seen.handedness,
        keypoints_px=seen.keypoints_px,
        rays=pixel_rays(seen.keypoints_px, image_size_px, field_of_view),
        joints_cam=joints @ turns.swapaxes(1, 2),
        confidence=seen.confidence,
        cam_from_crop=turns,
    )
