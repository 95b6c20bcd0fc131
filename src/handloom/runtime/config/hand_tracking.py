"""From frames to hand poses and to the alignment of hand and object."""

from typing import Literal

from pydantic import Field

from handloom.runtime.config.base import Settings
from handloom.runtime.config.detnet import DetNetSettings
from handloom.runtime.config.handoccnet import HandOccNetSettings
from handloom.runtime.config.mediapipe import MediapipeSettings
from handloom.runtime.config.metro import MetroSettings


class HandEstimationSettings(Settings):
    """The network that finds the hand's joints in each frame."""

    backend: Literal["detnet", "metro", "handoccnet", "mediapipe"] = Field(
        "detnet",
        description="Which network; mediapipe for real videos; metro and handoccnet need their published weights and "
        "MANO.",
    )
    checkpoint: str = Field(
        "package:detnet_small_cross.safetensors",
        description="DetNet's weights; `package:NAME` is a file that handloom ships.",
    )
    root_joint: Literal[0, 9] = Field(9, description="Root joint that the checkpoint was trained with.")
    detnet: DetNetSettings = Field(
        DetNetSettings(input_px=64, map_cells=8, width=16, blocks=(1, 2, 2), head_width=64),
        description="Size of the checkpoint's network.",
    )
    metro: MetroSettings = Field(MetroSettings(), description="The network METRO, used when it is the backend.")
    handoccnet: HandOccNetSettings = Field(
        HandOccNetSettings(),
        description="The network HandOccNet, used when it is the backend; S2DHand's picture shows it too, if it can.",
    )
    mediapipe: MediapipeSettings = Field(
        MediapipeSettings(), description="MediaPipe's network, used when it is the backend, and by footage."
    )
    side: Literal["right", "left"] = Field("right", description="Which hand holds the object.")
    passes: int = Field(
        1, ge=1, le=5, description="Crops per frame: the first around the mask, the next around the key points found."
    )
    views: int = Field(
        7,
        ge=1,
        le=25,
        description="DetNet: turned and zoomed views of each crop whose answers are averaged by confidence.",
    )
    blank: Literal["nothing", "background", "background and object"] = Field(
        "background and object", description="DetNet: what the masks hide from the network, painted grey."
    )
    object_reach: float | None = Field(
        0.75,
        gt=0,
        description="Hand pixels farther from the object than so many of its lengths are forearm; null keeps all.",
    )
    smallest_mask_px: int = Field(60, ge=1, description="A frame with fewer hand pixels counts as without a hand.")
    lowest_confidence: float = Field(
        0.15, ge=0, le=1, description="A frame whose mean confidence is lower counts as without a hand."
    )
    missing_fraction: float = Field(
        0.5, ge=0, le=1, description="Stop when more than this share of frames is without a hand."
    )
    batch_size: int = Field(64, ge=1, description="DetNet: crops per pass of the network.")


class HandRegistrationSettings(Settings):
    """How the hand model is laid onto the estimated joints."""

    fidelity: Literal["faithful", "fixed"] = Field(
        "fixed", description="faithful: Adam frame by frame onto estimated meshes; fixed: all frames at once."
    )
    joint_noise_m: float = Field(0.035, gt=0, description="Standard deviation of an estimated joint, in metres.")
    keypoint_noise: float = Field(
        0.12, gt=0, description="Standard deviation of a 2D key point, as a share of the hand's extent in the image."
    )
    robust_deviations: float = Field(
        1.5, gt=0, description="Residuals above so many standard deviations lose their influence (Geman-McClure)."
    )
    pose_prior: float = Field(0.3, ge=0, description="Weight of the prior of everyday poses.")
    shape_prior: float = Field(3.0, ge=0, description="Weight of squared shape coefficients.")
    size_deviation: float = Field(
        0.02,
        gt=0,
        description="Standard deviation of the hand's size about the model's mean: one camera cannot see it.",
    )
    limit_rad: float = Field(0.05, gt=0, description="Softness of the joint limits, in radians.")
    turn_smoothness_rad: float = Field(
        0.04, gt=0, description="Standard deviation of angular accelerations, in radians per squared frame."
    )
    path_smoothness: float = Field(
        0.01, gt=0, description="Standard deviation of accelerations of the wrist, in shares of its depth per frame^2."
    )
    outlier_m: float = Field(
        0.065,
        gt=0,
        description="Frames whose joints lie farther than this from the smooth fit on average are refilled.",
    )
    smallest_volume: float = Field(
        0.6, ge=0, lt=1, description="Frames whose mesh keeps less than this share of the median volume are refilled."
    )
    missing_fraction: float = Field(0.6, ge=0, le=1, description="Stop when a larger share of frames must be refilled.")
    iterations: int = Field(150, ge=1, description="Largest number of L-BFGS iterations per round.")


class AlignmentSettings(Settings):
    """How the hand and the object are brought together in the camera's frame."""

    fidelity: Literal["faithful", "fixed"] = Field(
        "fixed", description="faithful: HOLD's three runs of Adam; fixed: robust and joint, with the grasp in mind."
    )
    object_scale: float | None = Field(
        None, gt=0, description="Metres per unit of the object's poses; null estimates it, 1 for known metric poses."
    )
    grasp: Literal["auto", "held", "free"] = Field(
        "auto", description="held: the hand hardly moves on the object; free: it may; auto: decided from the estimates."
    )
    held_angle_deg: float = Field(
        50.0, gt=0, description="auto: a frame agrees with the common grasp when the wrist turns less than this."
    )
    held_share: float = Field(0.5, ge=0, le=1, description="auto: held when at least this share of frames agrees.")
    centroid_m: float = Field(
        0.04, gt=0, description="Standard deviation of the distance between the grasp's and the object's centre."
    )
    contact_m: float = Field(0.01, gt=0, description="Standard deviation of the fingertips' distance to the object.")
    contact_reach_m: float = Field(0.008, ge=0, description="Distance to the sparse points that still is contact.")
    drift_turn_rad: float = Field(0.3, gt=0, description="How far a held hand turns on the object over the video.")
    drift_shift_m: float = Field(0.01, gt=0, description="How far a held hand slips on the object over the video.")
    held_turn_rad: float = Field(0.10, gt=0, description="How far joints turn from the slow drift, in radians.")
    held_shift_m: float = Field(0.006, gt=0, description="How far the wrist moves from the slow drift, in metres.")
    step_turn_rad: float = Field(0.02, gt=0, description="Turn of the joints on the object from frame to frame.")
    step_shift_m: float = Field(0.002, gt=0, description="Way of the wrist on the object from frame to frame.")
    iterations: int = Field(150, ge=1, description="Largest number of L-BFGS iterations per step.")


class HandTrackingSettings(Settings):
    """Hand estimates, their registration and the alignment with the object."""

    estimation: HandEstimationSettings = Field(HandEstimationSettings(), description="Joints in each frame.")
    registration: HandRegistrationSettings = Field(HandRegistrationSettings(), description="Poses from joints.")
    alignment: AlignmentSettings = Field(AlignmentSettings(), description="Hand and object together.")
