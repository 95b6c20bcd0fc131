"""How HOLD-Net is trained; the defaults are the published ones (facts 2.5 and 2.6)."""

from typing import Literal

from pydantic import Field

from handloom.runtime.config.base import Settings
from handloom.runtime.config.hold_losses import HoldLossSettings, published_losses
from handloom.runtime.config.holdnet import HoldNetSettings

COST_ONLY = ("parts", "points_at_once", "checkpoint_seconds")
"""Settings that change what a training costs and, but for rounding, not its result: nothing runs again for them."""


class HoldNetPhaseSettings(Settings):
    """Length of one training of HOLD-Net."""

    epochs: int = Field(100, ge=0, description="Epochs of `pairs_per_epoch` / `pairs` steps.")


class HandPriorSettings(Settings):
    """The first shape of the hand's field: a network fitted to the distances of the hand model at rest."""

    checkpoint: str | None = Field(
        None, description="A prior's checkpoint of the HOLD release to take instead; null fits one to the hand model."
    )
    steps: int = Field(2000, ge=1, description="Optimiser steps.")
    points: int = Field(4096, ge=1, description="Points per step.")
    pool: int = Field(200_000, ge=1, description="Points whose distances are measured once, to draw the steps' from.")
    learning_rate: float = Field(1e-3, gt=0, description="Of Adam at the start; falls to zero along half a cosine.")


class HoldNetTrainingSettings(Settings):
    """HOLD-Net as the paper has it: sizes, losses, schedule. Made for a GPU: a step takes a CPU two core-minutes."""

    fidelity: Literal["faithful", "fixed"] = Field(
        "fixed",
        description="faithful: labels interpolated between pixels, the released losses, no target for the hand's shape "
        "in the first steps; fixed: the nearest pixel's label, an eikonal term that acts, the hand's target from the "
        "first step on, and rays that are not finite count in no term.",
    )
    network: HoldNetSettings = Field(HoldNetSettings(), description="Sizes of the networks and their sampling.")
    losses: HoldLossSettings | None = Field(
        None, description="Weights of the losses; null: the released ones, with a real eikonal term when fixed."
    )
    prior: HandPriorSettings = HandPriorSettings()
    checkpoints: dict[str, str] = Field(
        {},
        description="Released checkpoints by sequence, as in {SMu40: data/hold/524dcb8d4.ckpt}: phase 3 goes on from "
        "such a file without phases 1 and 2; with phase3.epochs 0 it only writes its results.",
    )
    pairs: int = Field(5, ge=1, description="Pairs of neighbouring frames per step.")
    pair_offset: int = Field(1, ge=1, description="Frames between the two of a pair.")
    pairs_per_epoch: int = Field(2000, ge=1, description="Pairs per epoch, in random order.")
    rays: int = Field(128, ge=8, description="Rays per frame and step.")
    network_rate: float = Field(1e-4, gt=0, description="Learning rate of networks, codes and densities.")
    pose_rate: float = Field(1e-5, ge=0, description="Learning rate of the poses and of the hand's shape.")
    largest_gradient: float = Field(0.5, gt=0, description="Gradients are shortened to this norm.")
    hand_refresh_steps: int = Field(200, ge=1, description="Steps between two targets of the hand's shape.")
    meshing_epochs: int = Field(
        3, ge=1, description="Epochs between two meshes of the object, beyond which it should be transparent."
    )
    mesh_cells: int = Field(129, ge=8, description="Nodes a side of the grid that the object is meshed on.")
    mesh_margin: float = Field(2.0, gt=0, description="Side of that grid over that of the SfM points' sphere.")
    points_at_once: int = Field(200_000, ge=1, description="Points of the grid that are evaluated at a time.")
    parts: int = Field(
        1,
        ge=1,
        description="Parts in which a step's rays are evaluated: twice as many need about half the memory, and any "
        "number above 1 a third more time. Doubled by itself when a GPU's memory runs out. About 20 MB a ray.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Of the colour networks and the background; shapes are always in float32, where half precision "
        "would cost millimetres.",
    )
    preview_steps: int = Field(500, ge=1, description="Steps between two preview pictures.")
    preview_width_px: int = Field(80, ge=8, description="Width of a frame in them.")
    checkpoint_seconds: float = Field(120.0, ge=0, description="Save the running training every so many seconds.")
    phase1: HoldNetPhaseSettings = HoldNetPhaseSettings(epochs=100)
    phase3: HoldNetPhaseSettings = HoldNetPhaseSettings(epochs=200)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch."""
        return -(-self.pairs_per_epoch // self.pairs)

    @property
    def rays_per_step(self) -> int:
        """Rays of one step over all its frames."""
        return 2 * self.pairs * self.rays

    @property
    def chosen_losses(self) -> HoldLossSettings:
        """The losses that are given, or those of the fidelity."""
        if self.losses is not None:
            return self.losses
        return published_losses() if self.fidelity == "faithful" else HoldLossSettings()
