"""The models of the scene: sizes and training of the voxel fields and of HOLD-Net."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from handloom.runtime.config.base import Faults, Settings


class CompactPhaseSettings(Settings):
    """Length of one training."""

    steps: int = Field(100, ge=1, le=1_000_000, description="Optimiser steps.")

    @model_validator(mode="before")
    @classmethod
    def _cells_are_the_shapes(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "cells" in given:
            words = "is gone: the object's shape is made before the phases, on one grid; set hold.object_cells instead"
            raise Faults([("cells", words)])
        return given


class CompactSettings(Settings):
    """Voxel fields of hand and object, their sampling along rays and their losses; lengths in metres."""

    points_reach: float | None = Field(
        None,
        ge=0,
        le=1,
        description="How far the object's hull may exceed its SfM points, as a share of half its cube's side; "
        "null: only masks limit it. For objects with texture all over that are shown from a few sides, as 0.03.",
    )
    hand_cells: int = Field(48, ge=8, le=512, description="Nodes a side of the hand's distance grid.")
    checkpoint_seconds: int = Field(20, ge=0, le=86_400, description="Save the running training every so many seconds.")
    rays: int = Field(768, ge=16, le=1_000_000, description="Rays per step.")
    coarse_samples: int = Field(48, ge=4, le=4096, description="Look-ups along a ray through the object's cube.")
    object_samples: int = Field(20, ge=2, le=4096, description="Samples of the object per ray.")
    hand_coarse_samples: int = Field(16, ge=4, le=4096, description="Distances to the posed hand along a ray.")
    hand_samples: int = Field(12, ge=2, le=4096, description="Samples of the hand per ray.")
    hand_neighbours: int = Field(
        6, ge=1, le=64, description="Vertices whose skinning weights a point takes; HOLD takes 15."
    )
    feature_cells: int = Field(48, ge=8, le=512, description="Nodes a side of the grids of colour features.")
    features: int = Field(6, ge=1, le=4096, description="Colour features per node.")
    hidden: int = Field(32, ge=4, le=4096, description="Width of the colour network's two hidden layers.")
    code_size: int = Field(4, ge=0, le=1024, description="Length of the code per frame that colour sees.")
    first_beta_m: float = Field(
        0.001,
        gt=0,
        le=0.1,
        description="Blur of surfaces (VolSDF's beta) at the first step: outlines look about twice as far out.",
    )
    last_beta_m: float = Field(0.0003, gt=0, le=0.1, description="And at the last.")
    distance_rate: float = Field(1e-4, gt=0, le=1, description="Learning rate of the hand's distance grid, metres.")
    feature_rate: float = Field(2e-2, gt=0, le=1, description="Learning rate of the colour features.")
    network_rate: float = Field(3e-3, gt=0, le=1, description="Learning rate of the colour networks and codes.")
    pose_rate: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Learning rate of poses, radians and metres; 0: they stay phase 2's, which colours do not improve.",
    )
    phase1: CompactPhaseSettings = CompactPhaseSettings(steps=25)
    phase3: CompactPhaseSettings = CompactPhaseSettings(steps=100)

    @model_validator(mode="after")
    def _blur_falls(self) -> "CompactSettings":
        if self.last_beta_m > self.first_beta_m:
            words = f"is {self.last_beta_m:g}, above first_beta_m {self.first_beta_m:g}; surfaces sharpen in training"
            raise Faults([("last_beta_m", words)])
        return self


class BarfSettings(Settings):
    """When the encoding of the object's points opens its frequencies, from the lowest to the highest."""

    start_step: int = Field(
        1000, ge=0, le=1_000_00000, description="Training step up to which only the plain coordinates pass."
    )
    end_step: int = Field(10000, ge=2, le=1_000_00000, description="Training step from which all frequencies pass.")

    @model_validator(mode="after")
    def _opens_over_time(self) -> "BarfSettings":
        if self.end_step - 1 <= self.start_step:
            raise Faults([("end_step", f"is {self.end_step}; expected at least start_step {self.start_step} + 2")])
        return self


class SdfNetSettings(Settings):
    """A network from points to signed distance and feature."""

    width: int = Field(256, ge=8, le=8192, description="Outputs of every hidden layer.")
    hidden_layers: int = Field(8, ge=1, le=64, description="Layers before the last one.")
    skip_layer: int | None = Field(
        4,
        ge=1,
        le=64,
        description="Layer that also takes the encoded points; null: none. The layer before it is narrowed.",
    )
    features: int = Field(256, ge=1, le=4096, description="Width of the feature that the colour network takes.")
    frequencies: int = Field(6, ge=0, le=20, description="Octaves of the encoding of points.")

    @model_validator(mode="after")
    def _skip_is_a_layer(self) -> "SdfNetSettings":
        if self.skip_layer is not None and self.skip_layer > self.hidden_layers:
            raise Faults([("skip_layer", f"is {self.skip_layer}, but the last layer is number {self.hidden_layers}")])
        return self


class ColourNetSettings(Settings):
    """A network from point, normal, pose and feature to colour."""

    width: int = Field(256, ge=1, le=8192, description="Outputs of every hidden layer.")
    hidden_layers: int = Field(4, ge=1, le=64, description="Layers before the last one.")


class BackgroundSettings(Settings):
    """The field outside the scene's sphere, in inverse-sphere coordinates (NeRF++)."""

    field: SdfNetSettings = Field(
        SdfNetSettings(frequencies=10), description="From (unit direction, inverse radius) to density and feature."
    )
    colour_width: int = Field(
        128, ge=1, le=8192, description="Hidden width of the colour network, which has one hidden layer."
    )
    samples: int = Field(32, ge=2, le=4096, description="Samples per ray.")


class SamplerSettings(Settings):
    """Error-bounded sampling of rays (VolSDF, Algorithm 1); a ray ends with near, far, final and extra samples."""

    first_samples: int = Field(128, ge=4, le=4096, description="Uniform samples per ray that the rounds start from.")
    round_samples: int = Field(128, ge=1, le=4096, description="Samples per ray that a round adds.")
    final_samples: int = Field(64, ge=1, le=4096, description="Samples per ray from the weights.")
    extra_samples: int = Field(
        32, ge=0, le=4096, description="Columns of the accumulated samples that are kept besides."
    )
    rounds: int = Field(5, ge=1, le=100, description="Most queries of the field.")


class HoldNetSettings(Settings):
    """HOLD-Net's size."""

    sdf: SdfNetSettings = Field(SdfNetSettings(), description="Shape networks of hand and object.")
    colour: ColourNetSettings = Field(ColourNetSettings(), description="Colour networks of hand and object.")
    background: BackgroundSettings = Field(BackgroundSettings(), description="The far field.")
    sampler: SamplerSettings = Field(SamplerSettings(), description="Where rays are sampled.")
    barf: BarfSettings = Field(BarfSettings(), description="Coarse to fine encoding of the object's points.")
    frame_code: int = Field(
        32, ge=1, le=1024, description="Width of the codes per frame, the object's and the background's."
    )


class HoldNetTrainingSettings(Settings):
    """What a training of HOLD-Net depends on beside its length."""

    fidelity: Literal["faithful", "fixed"] = Field(
        "fixed",
        description="faithful: labels interpolated between pixels, the released losses, no target for the hand's shape "
        "in the first steps; fixed: the nearest pixel's label, an eikonal term that acts, the hand's target from the "
        "first step on, and rays that are not finite count in no term.",
    )
    network: HoldNetSettings = Field(HoldNetSettings(), description="Sizes of the networks and their sampling.")
    pairs: int = Field(5, ge=1, le=1000, description="Pairs of neighbouring frames per step.")
    pairs_per_epoch: int = Field(2000, ge=1, le=1_000_000, description="Pairs per epoch, in random order.")
    rays: int = Field(128, ge=8, le=1_000_000, description="Rays per frame and step.")
    network_rate: float = Field(1e-4, gt=0, le=1, description="Learning rate of networks, codes and densities.")
    pose_rate: float = Field(1e-5, ge=0, le=1, description="Learning rate of the poses and of the hand's shape.")
    hand_refresh_steps: int = Field(
        200, ge=1, le=1_000_000, description="Steps between two targets of the hand's shape."
    )
    meshing_epochs: int = Field(
        3,
        ge=1,
        le=100_000,
        description="Epochs between two meshes of the object, beyond which it should be transparent.",
    )
    mesh_cells: int = Field(129, ge=8, le=1025, description="Nodes a side of the grid that the object is meshed on.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Of the colour networks and the background; shapes are always in float32, where half precision "
        "would cost millimetres.",
    )

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch."""
        return -(-self.pairs_per_epoch // self.pairs)

    @property
    def rays_per_step(self) -> int:
        """Rays of one step over all its frames."""
        return 2 * self.pairs * self.rays


class HandPriorSettings(Settings):
    """The first shape of the hand's field: a network fitted to the distances of the hand model at rest."""

    checkpoint: str | None = Field(
        None, description="A prior's checkpoint of the HOLD release to take instead; null fits one to the hand model."
    )
    steps: int = Field(2000, ge=1, le=1_000_000, description="Optimiser steps.")
    points: int = Field(4096, ge=1, le=1_000_000, description="Points per step.")
    pool: int = Field(
        200_000, ge=1, le=1_000_00000, description="Points whose distances are measured once, to draw the steps' from."
    )


class HoldNetPhaseSettings(Settings):
    """Length of one training of HOLD-Net."""

    epochs: int = Field(100, ge=0, le=100_000, description="Epochs of `pairs_per_epoch` / `pairs` steps.")


class HoldNetRunSettings(HoldNetTrainingSettings):
    """HOLD-Net as the paper has it: sizes, schedule, prior. Made for a GPU: a step takes a CPU two core-minutes."""

    prior: HandPriorSettings = HandPriorSettings()
    checkpoints: dict[str, str] = Field(
        {},
        description="Released checkpoints by sequence, as in {SMu40: data/hold/524dcb8d4.ckpt}: phase 3 goes on from "
        "such a file without phases 1 and 2; with phase3.epochs 0 it only writes its results.",
    )
    phase1: HoldNetPhaseSettings = HoldNetPhaseSettings(epochs=100)
    phase3: HoldNetPhaseSettings = HoldNetPhaseSettings(epochs=200)
    chunks: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Chunks in which a step's rays are evaluated: twice as many need about half the memory, and any "
        "number above 1 a third more time. Doubled by itself when a GPU's memory runs out. About 20 MB a ray. "
        "Nothing runs again for it.",
    )
    checkpoint_seconds: int = Field(
        120, ge=0, le=86_400, description="Save the running training every so many seconds; nothing runs again for it."
    )
