"""HOLD's stages but for the model of the scene: structure from motion, registration, alignment, refinement."""

from typing import Literal

from pydantic import Field

from handloom.runtime.config.base import Settings


class PairSettings(Settings):
    """Which pairs of frames are matched."""

    exhaustive_up_to: int = Field(
        90,
        ge=2,
        le=100_000,
        description="hloc: match every pair of a sequence of at most so many frames; longer ones use a window.",
    )
    window: int = Field(
        8,
        ge=1,
        le=10_000,
        description="Match each frame with its next so many, then at 2, 4, 8... times that.",
    )
    loop_stride: int = Field(
        6,
        ge=1,
        le=10_000,
        description="Every so-manieth frame is also matched with all others of the kind.",
    )


class HlocSettings(Settings):
    """The optional backend hloc; the defaults are its configurations that need no downloaded weights."""

    features: str = Field("sift", description="Name in hloc's extract_features.confs; HOLD used superpoint_aachen.")
    matcher: str = Field("NN-ratio", description="Name in hloc's match_features.confs; HOLD used superglue.")


class SfmSettings(Settings):
    """Structure from motion of the masked object."""

    backend: Literal["pycolmap", "hloc", "known", "colmap_model"] = Field(
        "pycolmap",
        description="pycolmap: SIFT and optical flow; hloc: optional, user-installed; known: poses of the data set; "
        "colmap_model: a model of yours, the sequence's colmap_model.",
    )
    camera_model: Literal["auto", "SIMPLE_PINHOLE", "SIMPLE_RADIAL"] = Field(
        "auto",
        description="Camera where the source knows none: f, or f and a radial distortion, which is removed from the "
        "frames; auto: distortion only where the object comes near the image's edge.",
    )
    field_of_view_deg: float = Field(
        60.0,
        ge=20,
        le=130,
        description="Over the frames' longer side, where the source knows no camera: mapped with, then refined on "
        "what is known to be right.",
    )
    mapper: Literal["global", "incremental"] = Field(
        "global", description="Mapper tried first; the other is tried when this one registers too few frames."
    )
    peak_threshold: float = Field(
        0.003, gt=0, le=1, description="Contrast a SIFT feature needs; COLMAP's own is 0.0067."
    )
    min_matches: int = Field(12, ge=6, le=100_000, description="Verified matches that a pair of frames needs.")
    min_features: int = Field(
        30,
        ge=1,
        le=100_000,
        description="Features on the object in the middle frame of their ranking; fewer means no texture.",
    )
    min_registered: float = Field(
        0.3, ge=0, le=1, description="Stop when a smaller share of the frames is in the largest part that is right."
    )
    time_limit_s: float = Field(3600.0, gt=0, le=1e6, description="Stop a reconstruction that takes longer.")
    pairs: PairSettings = PairSettings()
    hloc: HlocSettings = HlocSettings()


class HandRegistrationSettings(Settings):
    """How the hand model is laid onto the estimated joints."""

    fidelity: Literal["faithful", "fixed"] = Field(
        "fixed", description="faithful: Adam frame by frame onto estimated meshes; fixed: all frames at once."
    )
    missing_fraction: float = Field(0.6, ge=0, le=1, description="Stop when a larger share of frames must be refilled.")
    iterations: int = Field(150, ge=1, le=100_000, description="Largest number of L-BFGS iterations per round.")


class AlignmentSettings(Settings):
    """How the hand and the object are brought together in the camera's frame."""

    fidelity: Literal["faithful", "fixed"] = Field(
        "fixed", description="faithful: HOLD's three runs of Adam; fixed: robust and joint, with the grasp in mind."
    )
    object_scale: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="Metres per unit of the object's poses; null estimates it, 1 for known metric poses.",
    )
    grasp: Literal["auto", "held", "free"] = Field(
        "auto", description="held: the hand hardly moves on the object; free: it may; auto: decided from the estimates."
    )
    iterations: int = Field(150, ge=1, le=100_000, description="Largest number of L-BFGS iterations per step.")


class RefinementSettings(Settings):
    """All poses, the hand's shape and the object's scale, moved so that masks fit and the hand touches the object."""

    fidelity: Literal["faithful", "fixed"] = Field(
        "fixed",
        description="Of two hands (one is refined alike). faithful: they only keep their places in the picture, since "
        "the released contact of two hands never acts; fixed: masks, contact and penetration, as of one hand.",
    )
    steps: int = Field(100, ge=1, le=1_000_000, description="Steps of Adam over all frames at once.")
    long_side_px: int = Field(
        160, ge=32, le=4096, description="Masks are made smaller until no side exceeds this; HOLD's: 300."
    )
    turn_rate: float = Field(6e-3, ge=0, le=1, description="Learning rate of rotations, radians.")
    finger_rate: float = Field(4e-3, ge=0, le=1, description="Learning rate of the fingers, radians.")
    shift_rate: float = Field(1e-3, ge=0, le=1, description="Learning rate of translations, metres.")
    scale_rate: float = Field(3e-3, ge=0, le=1, description="Learning rate of the logarithm of the object's scale.")
    shape_rate: float = Field(5e-3, ge=0, le=1, description="Learning rate of the hand's shape.")
    hand_mask_weight: float = Field(
        20.0, ge=0, le=1e6, description="Of the hand's mask error, mean over counted pixels."
    )
    contact_weight: float = Field(2.0, ge=0, le=1e6, description="Of the finger tips' and palm's distance, per metre.")
    penetration_weight: float = Field(
        2000.0, ge=0, le=1e9, description="Of the squared depth of the hand in the object."
    )
    stay_grasp_m: float = Field(
        0.0002,
        gt=0,
        le=1,
        description="Deviation that the prior allows of the palm's places on the object in single frames; SfM and the "
        "whole video fix them.",
    )
    stay_grasp_together_m: float = Field(0.003, gt=0, le=1, description="The same where they move alike in all frames.")
