"""Where hand and object are in every frame, as parameters: what phases 1 to 3 learn beside the fields.

Everything is in the OpenCV camera's frame, in metres. The object's own frame is the SfM frame; `unit` is the cube
[-1, 1]^3 around its points: x_sfm = centre + radius x_unit, x_cam = R (scale x_sfm) + t.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from handloom.hand.joints import Side
from handloom.hand.mano import HandModel, SkinnedHand
from handloom.reconstruction.tracks import HandTrack, SequencePoses


@dataclass(frozen=True)
class ObjectCube:
    """The cube around the object that its field covers, in SfM units."""

    centre: Float[Tensor, "3"]
    radius: float

    def to(self, device: torch.device | str) -> "ObjectCube":
        """The same cube on another device."""
        return ObjectCube(self.centre.to(device), self.radius)


def object_cube(normalised_from_sfm: Float[Tensor, "4 4"], margin: float) -> ObjectCube:
    """The cube around the unit sphere of norm_mat, `margin` times as large."""
    matrix = normalised_from_sfm.float()
    radius = 1.0 / float(matrix[0, 0])
    return ObjectCube(-matrix[:3, 3] * radius, margin * radius)


class ScenePoses(nn.Module):
    """Learnable poses; the object's scale is one too, but only phase 2 lets it move.

    The object's translation is t = (scale / first scale) u, with u the parameter: another scale moves the object along
    its viewing rays as it grows, so that its picture stays and only contact with the hand decides. A second hand's
    poses, `beside` those of the first, share the object's parameters with them.
    """

    def __init__(
        self,
        model: HandModel,
        start: SequencePoses,
        cube: ObjectCube,
        device: torch.device | str = "cpu",
        beside: "ScenePoses | None" = None,
    ) -> None:
        super().__init__()
        self.model, self.cube = model.to(device), cube.to(device)
        self.hand_wrist = nn.Parameter(start.hand_rotvec[:, :1].to(device).clone())
        self.hand_fingers = nn.Parameter(start.hand_rotvec[:, 1:].to(device).clone())
        self.hand_shape = nn.Parameter(start.hand_shape.to(device).clone())
        self.hand_translation_m = nn.Parameter(start.hand_translation_m.to(device).clone())
        if beside is None:
            self.object_rotvec = nn.Parameter(start.object_rotvec.to(device).clone())
            self.object_place_m = nn.Parameter(start.object_translation_m.to(device).clone())
            self.log_object_growth = nn.Parameter(torch.zeros((), device=device))
        else:
            self.object_rotvec, self.object_place_m = beside.object_rotvec, beside.object_place_m
            self.log_object_growth = beside.log_object_growth
        self.first_scale = float(start.object_scale)

    @property
    def object_scale(self) -> Float[Tensor, ""]:
        """sigma_o: metres per SfM unit."""
        return self.first_scale * self.log_object_growth.exp()

    @property
    def object_translation_m(self) -> Float[Tensor, "frames 3"]:
        """t of every frame."""
        return self.object_place_m * self.log_object_growth.exp()

    @property
    def object_radius_m(self) -> Float[Tensor, ""]:
        """Half the side of the object's cube."""
        return self.object_scale * self.cube.radius

    def snapshot(self) -> SequencePoses:
        """The poses as they are, without gradient, on the CPU."""

        def copied(value: Tensor) -> Tensor:
            return value.detach().cpu().clone()

        return SequencePoses(
            copied(torch.cat([self.hand_wrist, self.hand_fingers], 1)),
            copied(self.hand_shape),
            copied(self.hand_translation_m),
            copied(self.object_rotvec),
            copied(self.object_translation_m),
            copied(self.object_scale),
            self.model.side,
        )

    def hand(self) -> SkinnedHand:
        """The posed hand in the camera's frame, in every frame."""
        rotvec = torch.cat([self.hand_wrist, self.hand_fingers], 1)
        # A view, so that derivatives of the skinning's several uses are summed before those of others are added.
        return HandTrack(rotvec, self.hand_shape, self.hand_translation_m[:]).skinned(self.model)

    def object_from_cam(
        self, points_cam_m: Float[Tensor, "points 3"], frame: Int[Tensor, " points"]
    ) -> Float[Tensor, "points 3"]:
        """Points of the camera's frame in the object's cube: x_unit = (R^T (x - t) / scale - centre) / radius."""
        rotation = frame_rows(roma.rotvec_to_rotmat(self.object_rotvec), frame)
        turned = ((points_cam_m - frame_rows(self.object_translation_m, frame))[:, None] @ rotation).squeeze(1)
        return (turned / self.object_scale - self.cube.centre) / self.cube.radius

    def object_to_cam(self, points_unit: Float[Tensor, "points 3"]) -> Float[Tensor, "frames points 3"]:
        """Points of the object's cube in the camera's frame, for every frame."""
        points_m = self.object_scale * (self.cube.centre + self.cube.radius * points_unit)
        rotation = roma.rotvec_to_rotmat(self.object_rotvec)
        return points_m @ rotation.mT + self.object_translation_m[:, None]


class PosesByHand(nn.ModuleDict):
    """The learnable poses of every hand by its side, the object's the same in all."""

    def __init__(
        self,
        models: Mapping[Side, HandModel],
        start: Mapping[Side, SequencePoses],
        cube: ObjectCube,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        for side, model in models.items():
            beside = next(iter(self.of.values()), None)
            self[side] = ScenePoses(model, start[side], cube, device, beside)

    @property
    def of(self) -> dict[Side, ScenePoses]:
        """The poses by side, in their order."""
        return {each.model.side: each for each in self.values() if isinstance(each, ScenePoses)}

    @property
    def object(self) -> ScenePoses:
        """Those that the object is asked of."""
        return next(iter(self.of.values()))

    def snapshot(self) -> dict[Side, SequencePoses]:
        """The poses as they are, without gradient, on the CPU."""
        return {side: each.snapshot() for side, each in self.of.items()}


def frame_rows(
    table: Float[Tensor, "frames size ..."], frame: Int[Tensor, " points"]
) -> Float[Tensor, "points size ..."]:
    """table[frame], what belongs to each point's frame; its derivative sums the points of a frame in their order.

    Plain indexing adds with atomics on several CPU threads, in another order each time, so that equal runs differ.
    """
    return table.index_select(0, frame)
