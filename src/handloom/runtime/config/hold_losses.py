"""Weights and schedules of HOLD's training losses; the defaults are the published ones but for the eikonal term's."""

from pydantic import Field

from handloom.runtime.config.base import Settings


class HoldLossSettings(Settings):
    """Weights of the losses of phases 1 and 3 (facts 2.5)."""

    rgb_weight: float = Field(1.0, ge=0, description="Of the colour's absolute error.")
    first_semantic_weight: float = Field(1.1, ge=0, description="Of the classes' squared error, at step 0.")
    last_semantic_weight: float = Field(0.1, ge=0, description="And from `schedule_steps` on.")
    last_opacity_weight: float = Field(1.0, ge=0, description="Of opacity off the surfaces, from `schedule_steps` on.")
    schedule_steps: int = Field(30000, ge=1, description="Steps over which the two weights change linearly.")
    hand_shape_weight: float = Field(5.0, ge=0, description="Of the hand field's distance to the hand model's.")
    hand_shape_reach_m: float = Field(0.01, gt=0, description="Distances are clamped to this much on both sides.")
    eikonal_weight: float = Field(0.1, ge=0, description="Of (|gradient| - 1)^2, summed over hand and object.")
    eikonal_threshold: float = Field(
        0.0,
        ge=0,
        description="The weighted eikonal term counts only above this; HOLD's 8e-4 switches it off in effect.",
    )


def published_losses() -> HoldLossSettings:
    """The losses as released: an eikonal term that only a raw value above 80 turns on."""
    return HoldLossSettings(eikonal_weight=1e-5, eikonal_threshold=8e-4)
