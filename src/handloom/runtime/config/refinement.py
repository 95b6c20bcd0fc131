"""Weights and sizes of phase 2, the refinement of poses by contact and silhouettes."""

from pydantic import Field

from handloom.runtime.config.base import Settings


class RefinementSettings(Settings):
    """All poses, the hand's shape and the object's scale, moved so that masks fit and the hand touches the object."""

    steps: int = Field(150, ge=1, description="Steps of Adam over all frames at once.")
    long_side_px: int = Field(160, ge=32, description="Masks are made smaller until no side exceeds this; HOLD's: 300.")
    softness_px: float = Field(1.0, gt=0, description="Softness of the rendered silhouettes.")
    turn_rate: float = Field(6e-3, ge=0, description="Learning rate of rotations, radians.")
    finger_rate: float = Field(4e-3, ge=0, description="Learning rate of the fingers, radians.")
    shift_rate: float = Field(1e-3, ge=0, description="Learning rate of translations, metres.")
    scale_rate: float = Field(3e-3, ge=0, description="Learning rate of the logarithm of the object's scale.")
    shape_rate: float = Field(5e-3, ge=0, description="Learning rate of the hand's shape.")
    object_mask_weight: float = Field(20.0, ge=0, description="Of the object's mask error, mean over counted pixels.")
    hand_mask_weight: float = Field(20.0, ge=0, description="Of the hand's mask error, mean over counted pixels.")
    contact_weight: float = Field(2.0, ge=0, description="Of the finger tips' and palm's distance, per metre.")
    contact_reach_m: float = Field(0.06, gt=0, description="Places farther from the object than this are not pulled.")
    penetration_weight: float = Field(2000.0, ge=0, description="Of the squared depth of the hand in the object.")
    stay_turn_rad: float = Field(0.15, gt=0, description="Deviation that the prior allows from the first rotations.")
    stay_shift_m: float = Field(0.015, gt=0, description="The same for translations.")
    stay_grasp_m: float = Field(
        0.0002,
        gt=0,
        description="The same for the palm's places on the object in single frames; SfM and the whole video fix them.",
    )
    stay_grasp_together_m: float = Field(
        0.003, gt=0, description="The same for those places where they move alike in all frames."
    )
    jitter_turn_rad: float = Field(0.04, gt=0, description="Allowed second differences over time of rotations.")
    jitter_shift_m: float = Field(0.004, gt=0, description="The same of translations.")
    prior_weight: float = Field(0.02, ge=0, description="Of the priors above together.")
