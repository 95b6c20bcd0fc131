"""The hand's shape prior: signed distances of the shaped hand at rest on a grid (replaces HOLD's gated SDF network)."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.geometry.signed_distance import MeshDistance
from handloom.geometry.surfaces import hole_cap
from handloom.geometry.voxels import node_points
from handloom.hand.joints import Side
from handloom.hand.mano import HandModel
from handloom.hand.models import HandFiles, configured_hands
from handloom.reconstruction.build_folder import read_build
from handloom.reconstruction.tracks import HandTrack
from handloom.runtime.artifacts import Artifact

MARGIN_M = 0.012
"""Around the hand: the field may grow so far."""
_EXACT_M = 0.02


@dataclass(frozen=True)
class HandTemplate(Artifact, kind="hand_template", units="m", frame="hand at rest"):
    """The file hand_template.npz: signed distances (negative inside) in a cube of a hand's rest frame, metres."""

    distance_m: Float[Tensor, "1 cells cells cells"]
    centre_m: Float[Tensor, "3"]
    radius_m: float
    side: Side

    def to(self, device: torch.device | str) -> "HandTemplate":
        """The same template on another device."""
        return HandTemplate(self.distance_m.to(device), self.centre_m.to(device), self.radius_m, self.side)


def template_of_build(build: Path, template: Path, *, cells: int, hand: HandFiles = None, code: str = "") -> None:
    """Stage: the template of each hand of a build folder, made once for all trainings of the sequence."""
    models = configured_hands(hand)
    scene = read_build(build, models)
    if scene.foreign_keys:
        print(f"{build}: foreign keys {list(scene.foreign_keys)} are left alone", file=sys.stderr)
    made = {side: hand_template(model, scene.hands[side].shape, cells) for side, model in models.items()}
    HandTemplate.save_each(template, made, code=code)


def hand_template(model: HandModel, shape: Float[Tensor, " shape"], cells: int) -> HandTemplate:
    """Distances to the shaped hand at rest, its wrist sealed; exact to 2 cm from the surface, beyond only larger."""
    at_rest = HandTrack(torch.zeros(1, 16, 3), shape, torch.zeros(1, 3))
    rest = at_rest.skinned(model).vertices_m[0].detach()
    cap = hole_cap(model.faces, len(rest))
    low, high = rest.amin(0) - MARGIN_M, rest.amax(0) + MARGIN_M
    centre, radius_m = (low + high) / 2, float((high - low).amax() / 2)
    points = node_points(cells) * radius_m + centre
    distance = MeshDistance(cap.sealed(rest), cap.faces).signed(points, reach=_EXACT_M)
    return HandTemplate(distance.view(1, cells, cells, cells), centre, radius_m, model.side)
