"""The hand's shape prior: signed distances of the shaped hand at rest on a grid (replaces HOLD's gated SDF network)."""

import sys
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.hand.mano import HandModel, skin
from handloom.reconstruction.build_folder import read_build
from handloom.reconstruction.compact.voxels import node_points
from handloom.reconstruction.sealed_hand import wrist_cap
from handloom.reconstruction.signed_distance import MeshDistance
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.finite_arrays import read_finite_arrays

KIND = "hand_template"
MARGIN_M = 0.012
_EXACT_M = 0.02


class HandTemplate(NamedTuple):
    """Signed distances (negative inside) in a cube of the hand's rest frame, metres."""

    distance_m: Float[Tensor, "1 cells cells cells"]
    centre_m: Float[Tensor, "3"]
    radius_m: float

    def to(self, device: torch.device | str) -> "HandTemplate":
        """The same template on another device."""
        return HandTemplate(self.distance_m.to(device), self.centre_m.to(device), self.radius_m)


def hand_template(model: HandModel, shape: Float[Tensor, " shape"], cells: int) -> HandTemplate:
    """Distances to the shaped hand at rest, its wrist sealed; exact to 2 cm from the surface, beyond only larger."""
    pose = torch.zeros(1, 16, 3)
    rest = skin(model, pose_rotvec=pose, shape=shape[None], translation_m=torch.zeros(1, 3)).vertices_m[0].detach()
    cap = wrist_cap(model.faces, len(rest))
    low, high = rest.amin(0) - MARGIN_M, rest.amax(0) + MARGIN_M
    centre, radius_m = (low + high) / 2, float((high - low).amax() / 2)
    points = node_points(cells) * radius_m + centre
    distance = MeshDistance(cap.sealed(rest), cap.faces).signed(points, reach=_EXACT_M)
    return HandTemplate(distance.view(1, cells, cells, cells), centre, radius_m)


def template_of_build(model: HandModel, build: Path, output: Path, *, cells: int, code: str = "") -> None:
    """Stage: the template of a build folder's hand, made once for all trainings of the sequence."""
    scene = read_build(build, {model.side: model})
    if scene.foreign_keys:
        print(f"{build}: foreign keys {list(scene.foreign_keys)} are left alone", file=sys.stderr)
    template = hand_template(model, scene.hands[model.side].shape.float(), cells)
    arrays = {
        "distance_m": template.distance_m.numpy(),
        "centre_m": template.centre_m.numpy(),
        "radius_m": torch.tensor(template.radius_m, dtype=torch.float64).numpy(),
    }
    write_arrays(output, arrays, Header(KIND, units="m", frame=f"{model.side}_hand_rest", code=code))


def read_hand_template(path: Path) -> HandTemplate:
    """Read what `template_of_build` wrote; raises InputError for another artifact or one with NaN."""
    arrays, _ = read_finite_arrays(path, KIND, ("distance_m", "centre_m", "radius_m"))
    distance = torch.from_numpy(arrays["distance_m"]).float()
    return HandTemplate(distance, torch.from_numpy(arrays["centre_m"]).float(), float(arrays["radius_m"]))
