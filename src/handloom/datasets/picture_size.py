"""The size of a sequence's pictures, from headers only, before any is decoded."""

from functools import cache
from pathlib import Path

from handloom.runtime.config.sequences import FrameSettings, SequenceKind

_FIRST_BYTES = 64


def frame_size(path: Path, settings: FrameSettings) -> tuple[int, int] | None:
    """Width and height of the extracted frames, in pixels; None where headers do not tell."""
    size = source_size(path, settings.kind)
    if size is None:
        return None
    scale = min(1.0, settings.longest_side_px / max(size)) if settings.kind != "build" else 1.0
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


@cache
def source_size(path: Path, kind: SequenceKind) -> tuple[int, int] | None:
    """Width and height of the frames as they come, upright; None where headers do not tell."""
    if kind == "video":
        return _video_size(path)
    folder = path / {"ho3d": "rgb", "build": "image", "frames": "."}[kind]
    from PIL import Image  # planning a run without marks needs no pictures

    for picture in sorted(folder.glob("*"))[:20]:
        if picture.suffix.lower() in (".jpg", ".jpeg", ".png") and not picture.name.startswith("."):
            try:
                with Image.open(picture, formats=("JPEG", "PNG")) as image:
                    return image.size
            except (OSError, ValueError, Image.DecompressionBombError):
                return None
    return None


def _video_size(path: Path) -> tuple[int, int] | None:
    import cv2

    with path.open("rb") as file:
        if file.read(_FIRST_BYTES).isascii():  # a list that would make the decoder open other files
            return None
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            return None
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        turned = capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90
    finally:
        capture.release()
    if min(size) <= 0:
        return None
    return size[::-1] if turned else size
