"""A camera's calibration, as OpenCV, ROS, Kalibr and people write it: YAML or JSON, by any of the usual names."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from jaxtyping import Float64

from handloom.runtime.errors import InputError
from handloom.runtime.reading import reading

_MATRIX = ("camera_matrix", "cameramatrix", "intrinsics", "intrinsic", "intrinsic_matrix", "mtx", "k", "m")
_FOUR = ("fx", "fy", "cx", "cy")
_DISTORTION = ("distortion_coefficients", "distortion_coeffs", "dist_coeffs", "distcoeffs", "distortion", "dist", "d")
_SIZES = ("resolution", "image_size", "img_size", "size", "size_px")
_WIDTHS, _HEIGHTS = ("image_width", "width", "w"), ("image_height", "height", "h")
_MODELS = ("distortion_model", "model")
_PINHOLE = ("plumb_bob", "radtan", "rational_polynomial", "opencv", "pinhole", "none", "brown", "brown-conrady")
_COUNTS = (0, 4, 5, 8, 12, 14)
"""Of distortion coefficients, in OpenCV's order."""
_LARGEST_BYTES = 200_000
_SAME_SHAPE = 0.02
_ADVICE = (
    "expected a camera matrix of 3 x 3 (or fx, fy, cx, cy), image_width and image_height, and maybe distortion "
    "coefficients, in YAML or JSON; or set left_camera, right_camera to [fx, fy, cx, cy]"
)


class Calibration(NamedTuple):
    """A pinhole camera of pictures of `size_px` (width, height), pixel centres at whole numbers, and its lens."""

    path: Path
    intrinsics: Float64[np.ndarray, "3 3"]
    size_px: tuple[int, int]
    distortion: Float64[np.ndarray, " coefficients"] | None

    def of_pictures(
        self, width_px: int, height_px: int
    ) -> tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, " coefficients"] | None]:
        """The camera of the same pictures at another size, and its lens; raises InputError for another shape."""
        across, down = width_px / self.size_px[0], height_px / self.size_px[1]
        if abs(across / down - 1) > _SAME_SHAPE:
            raise InputError(
                f"{self.path}: is of pictures of {self.size_px[0]} x {self.size_px[1]} pixels, but the frames have "
                f"{width_px} x {height_px}, another shape; calibrate with the camera's settings for this footage"
            )
        scaled = self.intrinsics.copy()
        for row, scale in ((0, across), (1, down)):
            scaled[row] *= scale
            scaled[row, 2] += (scale - 1) / 2
        return scaled, self.distortion


def read_calibration(path: Path) -> Calibration:
    """The camera of a file that holds one; raises InputError for what is none, or several, or no pinhole camera's."""
    found = [entries for entries in _mappings(_content(path)) if _matrix(entries) is not None]
    if len(found) != 1:
        raise InputError(f"{path}: holds {len(found)} cameras; expected one: {_ADVICE}")
    entries, matrix = found[0], _matrix(found[0])
    assert matrix is not None
    size = _size(entries)
    if size is None:
        raise InputError(f"{path}: does not tell the size of the pictures that it was made with; {_ADVICE}")
    (focal_x, skew, centre_x), (below, focal_y, centre_y) = matrix[:2]
    good = (
        *(np.isfinite(matrix).all(), abs(below) < 1e-6, abs(skew) <= 0.01 * abs(focal_x)),
        *(np.allclose(matrix[2], [0, 0, 1]), min(focal_x, focal_y) > 0, 0.5 < focal_x / max(focal_y, 1e-9) < 2),
        *(0 < centre_x < size[0], 0 < centre_y < size[1], 0.1 < focal_x / max(size) < 20),
    )
    if not all(good):
        raise InputError(
            f"{path}: has the camera matrix {matrix.round(3).tolist()} for pictures of {size[0]} x {size[1]} pixels, "
            "which is none; expected focal lengths and a centre in pixels, and (0, 0, 1) in its last row"
        )
    model = str(_first(entries, _MODELS) or _PINHOLE[0]).lower()
    numbers = _numbers(_first(entries, _DISTORTION))
    if model not in _PINHOLE or (numbers is not None and len(numbers) not in _COUNTS):
        count = 0 if numbers is None else len(numbers)
        raise InputError(
            f"{path}: has the lens model {model} with {count} coefficients; expected OpenCV's (plumb_bob, radtan, "
            "rational_polynomial) with 4, 5, 8, 12 or 14; calibrate as a pinhole camera"
        )
    distortion = None if numbers is None or not numbers.any() else numbers
    return Calibration(path, matrix, size, distortion)


def calibration_fault(path: Path) -> str | None:
    """What is wrong with a calibration file; None: nothing."""
    try:
        read_calibration(path)
    except InputError as error:
        return str(error)
    return None


def _content(path: Path) -> Any:
    with reading(path, "a calibration", _ADVICE, most_bytes=_LARGEST_BYTES) as file:
        text = file.read().decode("utf-8-sig")
        # OpenCV's files begin with a directive, and mark matrices with a tag, that YAML does not know.
        text = re.sub(r"!!opencv-\w+", "", re.sub(r"\A%YAML[^\n]*\n", "", text))
        if re.search(r"(^|[\s\[,:-])[&*]\w", text):
            raise InputError(f"{path}: has anchors or aliases, which no calibration needs; {_ADVICE}")
        return yaml.safe_load(text)


def _mappings(content: Any, depth: int = 4) -> Iterator[Mapping[str, Any]]:
    """A mapping and those in it, names in lower case; what holds a camera is not searched for another one."""
    if not isinstance(content, Mapping) or depth == 0:
        return
    entries = {str(name).lower(): value for name, value in content.items()}
    yield entries
    if _matrix(entries) is None:
        for value in entries.values():
            yield from _mappings(value, depth - 1)


def _matrix(entries: Mapping[str, Any]) -> Float64[np.ndarray, "3 3"] | None:
    four = _numbers([entries[name] for name in _FOUR] if all(name in entries for name in _FOUR) else None)
    numbers = _numbers(_first(entries, _MATRIX)) if four is None else four
    if numbers is None or len(numbers) not in (4, 9):
        return None
    if len(numbers) == 9:
        return numbers.reshape(3, 3)
    focal_x, focal_y, centre_x, centre_y = numbers
    return np.array([[focal_x, 0.0, centre_x], [0.0, focal_y, centre_y], [0.0, 0.0, 1.0]])


def _size(entries: Mapping[str, Any]) -> tuple[int, int] | None:
    sides = _numbers(_first(entries, _SIZES))
    if sides is None:
        sides = _numbers([_first(entries, _WIDTHS), _first(entries, _HEIGHTS)])
    if sides is None or len(sides) != 2 or not (sides >= 1).all():
        return None
    return int(sides[0]), int(sides[1])


def _first(entries: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((entries[name] for name in names if name in entries), None)


def _numbers(value: Any) -> Float64[np.ndarray, " numbers"] | None:
    """The numbers of a list, a list of lists, or a mapping with `data`; None for anything else."""
    if isinstance(value, Mapping):
        value = value.get("data")
    try:
        return None if value is None else np.array(value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return None
