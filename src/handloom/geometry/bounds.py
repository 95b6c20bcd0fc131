"""What a rotation, a camera, a box and a length can be: numbers outside of this are of another unit or no such thing.

Every check gives the fault in words, "" for none, to be put behind the name of the file and the place in it.
"""

import numpy as np
from jaxtyping import Bool, Float

NOT_ORTHOGONAL = 1e-3
"""Of R^T R; rotations are written with more digits than this."""
OBJECT_SIZE_M = (0.005, 2.0)
"""What a hand can hold, with room."""
DISTANCE_M = (0.02, 20.0)
"""Of a hand or an object that a camera sees."""
_MOST_TURN_RAD = 4 * np.pi
"""Length of a rotation vector; a turn in degrees is longer."""
_LEAST_FOCAL_PX = 10.0
_FOCAL_PER_SIDE = (0.1, 50.0)
"""Focal length over the picture's longer side: from 157 degrees of view to one."""
_LEAST_BOX_PX = 1.0
_MISTAKEN = {
    1000.0: "millimetres taken for metres",
    100.0: "centimetres taken for metres",
    0.001: "metres taken for millimetres",
    0.1: "centimetres taken for millimetres",
}
"""How many times too large a length becomes."""


def are_rotations(matrices: Float[np.ndarray, "n 3 3"]) -> Bool[np.ndarray, " n"]:
    """Which matrices are finite, orthonormal and of determinant 1."""
    numbers = np.where(np.isfinite(matrices), matrices, 0.0)  # a row of zeros is none of a rotation's
    off = np.abs(np.swapaxes(numbers, -1, -2) @ numbers - np.eye(3)).max(axis=(-2, -1))
    proper: np.ndarray = (off < NOT_ORTHOGONAL) & (np.linalg.det(numbers) > 0)
    return proper


def rotation_fault(matrix: Float[np.ndarray, "3 3"]) -> str:
    """Why a matrix is no rotation."""
    if are_rotations(matrix[None]).all():
        return ""
    wanted = "orthonormal rows and determinant 1 were expected"
    if not np.isfinite(matrix).all():
        return f"is not a rotation: it is not finite, but {wanted}"
    determinant = float(np.linalg.det(matrix))
    if determinant > 0 and are_rotations(matrix[None] / determinant ** (1 / 3)).all():
        return f"is not a rotation: it is {determinant ** (1 / 3):.3g} times one, but {wanted}"
    if are_rotations(matrix[None] * [-1.0, 1.0, 1.0]).all():
        return f"is not a rotation: it mirrors (determinant -1), but {wanted}"
    off = np.abs(matrix.T @ matrix - np.eye(3)).max()
    return f"is not a rotation: it is off orthonormal by {off:.2g}, but {wanted}"


def turn_fault(rotvec: Float[np.ndarray, "*rows 3"]) -> str:
    """Why rotation vectors are none in radians."""
    longest = float(np.linalg.norm(rotvec.reshape(-1, 3), axis=1).max())
    return (
        ""
        if longest <= _MOST_TURN_RAD
        else (f"holds a rotation vector {longest:.3g} long, but radians were expected (degrees?)")
    )


def intrinsics_fault(matrix: Float[np.ndarray, "3 3"], size_px: Float[np.ndarray, "2"] | None = None) -> str:
    """Why a matrix is no camera's, in pixels of a picture of (width, height); without one, of twice its centre."""
    focal, centre = matrix[[0, 1], [0, 1]], matrix[:2, 2]
    if not np.isfinite(matrix).all():
        return "is no camera matrix: it is not finite"
    if np.abs(matrix[2] - [0.0, 0.0, 1.0]).max() > NOT_ORTHOGONAL or abs(matrix[1, 0]) > NOT_ORTHOGONAL:
        return (
            f"is no camera matrix: its last rows are {matrix[1:].tolist()}, but [0, f, c] and [0, 0, 1] were expected"
        )
    if not (focal >= _LEAST_FOCAL_PX).all():
        return f"is no camera matrix: its focal lengths are {focal.tolist()}, but positive ones in pixels were expected"
    size = 2 * centre if size_px is None else size_px
    inside = centre > 0 if size_px is None else (centre > -size / 2) & (centre < 1.5 * size)
    if not inside.all():
        picture = "" if size_px is None else f" of {size[0]:g} x {size[1]:g} pixels"
        return f"is no camera matrix: its centre is {centre.tolist()}, but one in the picture{picture} was expected"
    ratio = focal / size.max()
    if not ((ratio > _FOCAL_PER_SIDE[0]) & (ratio < _FOCAL_PER_SIDE[1])).all():
        return (
            f"is no camera matrix: its focal lengths are {focal.tolist()} for a picture of {size[0]:g} x {size[1]:g} "
            "pixels, which no lens has"
        )
    return ""


def are_boxes(
    boxes_px: Float[np.ndarray, "boxes 4"], size_px: Float[np.ndarray, "#boxes 2"]
) -> Bool[np.ndarray, " boxes"]:
    """Which (x0, y0, x1, y1) are finite, have a width and a height, and meet the picture of (width, height)."""
    low, high = boxes_px[..., :2], boxes_px[..., 2:]
    good: np.ndarray = np.isfinite(boxes_px).all(axis=-1) & (high - low >= _LEAST_BOX_PX).all(axis=-1)
    # Within a pixel lie shares of the picture's sides.
    good &= (high > 0).all(axis=-1) & (high > 1).any(axis=-1) & (low < size_px).all(axis=-1)
    return good


def box_fault(box_px: Float[np.ndarray, "4"], size_px: Float[np.ndarray, "2"] | None = None) -> str:
    """Why (x0, y0, x1, y1) is no box in the picture of (width, height)."""
    size = np.full(2, np.inf) if size_px is None else size_px
    if are_boxes(box_px[None], size[None]).all():
        return ""
    found = [round(float(value), 4) for value in box_px]
    if (np.abs(box_px) <= 1).all() and (box_px[2:] > box_px[:2]).all():
        return f"is {found}, within a pixel; expected pixels (shares of the picture's sides? multiply by these)"
    if not (box_px[2:] - box_px[:2] >= _LEAST_BOX_PX).all():
        return f"is {found}; expected x0 < x1 and y0 < y1, in pixels, and not x, y, width, height"
    return f"is outside of the picture, of {size[0]:g} x {size[1]:g} pixels: {found}"


def length_fault(length_m: float, bounds_m: tuple[float, float], what: str) -> str:
    """Why a length is none of such a thing, with the unit that would explain it."""
    least, most = bounds_m
    if least <= length_m <= most:
        return ""
    fits = [words for factor, words in _MISTAKEN.items() if least <= length_m / factor <= most]
    explained = f" ({fits[0]}?)" if fits else ""
    return f"{what} is {length_m:.3g} m, but {least:g} to {most:g} m was expected{explained}"
