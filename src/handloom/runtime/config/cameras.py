"""What is known of the cameras of a user's pair, and how far it may be off."""

import math
from typing import Annotated, Literal

from pydantic import Field

from handloom.runtime.config.base import Settings

ASSUMED_DEG = 65.0
"""Horizontal field of view of a camera that nobody told."""
_ASSUMED_RANGE_DEG = (40.0, 90.0)
"""From a phone that is held upright, or steadies its pictures, to an action camera."""
_TOLD_RANGE = (0.65, 1.15)
"""A told field of view times these: video is often cut out of the sensor, and data sheets also tell the diagonal's."""
_LARGEST_DEG = 175.0
_CALIBRATED_FOCAL = (0.98, 1.02)

_Focal = Annotated[float, Field(gt=0, le=1e6)]
_Centre = Annotated[float, Field(ge=0, le=1e6)]
CameraNumbers = tuple[_Focal, _Focal, _Centre, _Centre]
"""fx, fy, cx, cy in pixels, pixel centres at whole numbers."""


class KnownCamera(Settings):
    """Where a camera's field of view comes from, and between which factors its focal length may lie."""

    told: Literal["assumed", "given", "calibrated"]
    field_of_view_deg: float | None = Field(gt=0, lt=180)
    """None where a calibration tells it."""
    least_focal: float = Field(gt=0, le=1)
    most_focal: float = Field(ge=1, le=1e6)

    @classmethod
    def calibrated(cls) -> "KnownCamera":
        """A camera whose calibration is given."""
        least, most = _CALIBRATED_FOCAL
        return cls(told="calibrated", field_of_view_deg=None, least_focal=least, most_focal=most)

    @classmethod
    def of(cls, told_deg: float | None, tolerance_deg: float | None) -> "KnownCamera":
        """A camera of a told field of view, or of the assumed one, and what it may be off."""
        angle = ASSUMED_DEG if told_deg is None else told_deg
        if tolerance_deg is not None:
            low, high = max(angle - tolerance_deg, 1.0), angle + tolerance_deg
        elif told_deg is None:
            low, high = _ASSUMED_RANGE_DEG
        else:
            low, high = (share * angle for share in _TOLD_RANGE)
        return cls(
            told="assumed" if told_deg is None else "given",
            field_of_view_deg=angle,
            least_focal=_slope(angle) / _slope(min(high, max(angle, _LARGEST_DEG))),
            most_focal=_slope(angle) / _slope(low),
        )


def _slope(angle_deg: float) -> float:
    return math.tan(math.radians(angle_deg / 2))
