"""Sizes and schedule of the compact reconstruction."""

from pydantic import Field

from handloom.runtime.config.base import Settings


class CompactPhaseSettings(Settings):
    """Length of one training."""

    steps: int = Field(600, ge=1, description="Optimiser steps.")
    cells: tuple[int, ...] = Field((64,), min_length=1, description="Nodes of the distance grids, coarse to fine.")
    preview_steps: int = Field(300, ge=1, description="Steps between two preview pictures.")


class CompactSettings(Settings):
    """Voxel fields of hand and object, their sampling along rays and their losses; lengths in metres."""

    cube_margin: float = Field(1.35, gt=1, description="Side of the object's cube over that of its SfM points' sphere.")
    points_reach: float | None = Field(
        None,
        ge=0,
        description="How far the object's first shape may exceed its SfM points, as a share of half its cube's side; "
        "null: only masks limit it. For objects with texture all over that are shown from a few sides, as 0.03.",
    )
    hand_cells: int = Field(48, ge=8, description="Nodes a side of the hand's distance grid.")
    checkpoint_seconds: float = Field(20.0, ge=0, description="Save the running training every so many seconds.")
    rays: int = Field(768, ge=16, description="Rays per step.")
    object_ray_share: float = Field(0.45, ge=0, le=1, description="Rays in the object's box.")
    hand_ray_share: float = Field(0.35, ge=0, le=1, description="Rays in the hand's box; the rest is anywhere.")
    coarse_samples: int = Field(48, ge=4, description="Look-ups along a ray through the object's cube.")
    object_samples: int = Field(20, ge=2, description="Samples of the object per ray.")
    hand_coarse_samples: int = Field(16, ge=4, description="Distances to the posed hand along a ray.")
    hand_samples: int = Field(12, ge=2, description="Samples of the hand per ray.")
    hand_neighbours: int = Field(6, ge=1, description="Vertices whose skinning weights a point takes; HOLD takes 15.")
    reach_m: float = Field(0.015, gt=0, description="Rays farther than this from the object are empty space.")
    hand_reach_m: float = Field(0.012, gt=0, description="Rays farther than this from the hand are empty space.")
    nearest_m: float = Field(0.05, gt=0, description="Nothing is nearer to the camera.")
    feature_cells: int = Field(48, ge=8, description="Nodes a side of the grids of colour features.")
    features: int = Field(6, ge=1, description="Colour features per node.")
    hidden: int = Field(32, ge=4, description="Width of the colour network's two hidden layers.")
    code_size: int = Field(4, ge=0, description="Length of the code per frame that colour sees.")
    first_beta_m: float = Field(
        0.001,
        gt=0,
        description="Blur of surfaces (VolSDF's beta) at the first step: outlines look about twice as far out.",
    )
    last_beta_m: float = Field(0.0003, gt=0, description="And at the last.")
    distance_rate: float = Field(1e-4, gt=0, description="Learning rate of the distance grids, metres.")
    feature_rate: float = Field(2e-2, gt=0, description="Learning rate of the colour features.")
    network_rate: float = Field(3e-3, gt=0, description="Learning rate of the colour networks and codes.")
    pose_rate: float = Field(1e-4, ge=0, description="Learning rate of poses, radians and metres.")
    last_rate_share: float = Field(0.1, gt=0, le=1, description="Rates fall to this share along half a cosine.")
    colour_weight: float = Field(1.0, ge=0, description="Of the colour's absolute error.")
    first_semantic_weight: float = Field(1.1, ge=0, description="Of the classes' squared error, at the first step.")
    last_semantic_weight: float = Field(0.3, ge=0, description="And at the last.")
    eikonal_weight: float = Field(0.05, ge=0, description="Of (|gradient| - 1)^2; the reference's is off in effect.")
    roughness_weight: float = Field(0.25, ge=0, description="Of the grids' second differences, in cells.")
    hand_prior_weight: float = Field(5.0, ge=0, description="Of the hand field's distance to the template's.")
    phase1: CompactPhaseSettings = CompactPhaseSettings(steps=400, cells=(48,))
    phase3: CompactPhaseSettings = CompactPhaseSettings(steps=1200, cells=(64,))
