"""How the object's poses are found in the frames."""

from typing import Literal

from pydantic import Field

from handloom.runtime.config.base import Settings


class PairSettings(Settings):
    """Which pairs of frames are matched."""

    exhaustive_up_to: int = Field(
        90, ge=2, description="Match every pair of a sequence of at most so many frames; longer ones use a window."
    )
    window: int = Field(
        8, ge=1, description="Long sequences: match each frame with its next so many, then at 2, 4, 8... times that."
    )
    loop_stride: int = Field(
        6, ge=1, description="Long sequences: every so-manieth frame is also matched with all others of the kind."
    )


class HlocSettings(Settings):
    """The optional backend hloc; the defaults are its configurations that need no downloaded weights."""

    features: str = Field("sift", description="Name in hloc's extract_features.confs; HOLD used superpoint_aachen.")
    matcher: str = Field("NN-ratio", description="Name in hloc's match_features.confs; HOLD used superglue.")


class SfmSettings(Settings):
    """Structure from motion of the masked object."""

    backend: Literal["pycolmap", "hloc", "known"] = Field(
        "pycolmap", description="pycolmap: SIFT; hloc: optional, user-installed; known: poses of the data set."
    )
    use_known_intrinsics: bool = Field(
        True, description="Hold the camera at the source's intrinsics where it has any; false estimates f."
    )
    camera_model: Literal["auto", "SIMPLE_PINHOLE", "SIMPLE_RADIAL"] = Field(
        "auto",
        description="Camera when it is estimated: f, or f and a radial distortion, which is removed from the frames; "
        "auto: distortion only where the object comes near the image's edge.",
    )
    focal_factor: float = Field(
        1.2, gt=0, description="First guess of f over the longer image side, when the camera is estimated."
    )
    mapper: Literal["global", "incremental"] = Field(
        "global", description="Mapper tried first; the other is tried when this one registers too few frames."
    )
    mask_erosion_px: int = Field(
        2, ge=0, description="Shrink the object's mask so far before features are taken; its edge is not the object's."
    )
    max_features: int = Field(4096, ge=64, description="SIFT features per frame, the strongest first.")
    peak_threshold: float = Field(0.003, gt=0, description="Contrast a SIFT feature needs; COLMAP's own is 0.0067.")
    max_ratio: float = Field(0.8, gt=0, le=1, description="Lowe's ratio of the best match to the second best.")
    min_matches: int = Field(12, ge=6, description="Verified matches that a pair of frames needs.")
    min_features: int = Field(
        30, ge=1, description="Features on the object in the middle frame of their ranking; fewer means no texture."
    )
    min_observed_points: int = Field(
        12, ge=4, description="Points a registered frame must see; its pose is interpolated otherwise."
    )
    min_registered: float = Field(0.7, ge=0, le=1, description="Stop when a smaller share of the frames is registered.")
    trim_quantile: float = Field(
        0.8, gt=0, le=1, description="Quantile of the points' distance to their median, for the clean-up."
    )
    trim_factor: float = Field(1.5, gt=0, description="Points farther than so many times that distance are removed.")
    threads: int = Field(
        2, ge=1, description="Threads that extract and match features; the mapping uses one, to be reproducible."
    )
    time_limit_s: float = Field(3600.0, gt=0, description="Stop a reconstruction that takes longer.")
    pairs: PairSettings = PairSettings()
    hloc: HlocSettings = HlocSettings()
