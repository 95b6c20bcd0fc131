"""Where hand and object are in every frame: what phases 1 to 3 learn beside the fields (facts/hold.md 2.6).

Everything is in the OpenCV camera's frame, in metres. The object's own frame is the SfM frame; `unit` is the cube
[-1, 1]^3 around its points: x_sfm = centre + radius x_unit, x_cam = R (scale x_sfm) + t.
"""

from dataclasses import dataclass
from typing import NamedTuple

import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from handloom.hand.mano import HandModel, SkinnedHand, skin
from handloom.reconstruction.compact.frame_rows import frame_rows


class PoseArrays(NamedTuple):
    """Poses of a whole video, as files hold them; rotation vectors in radians."""

    hand_rotvec: Float[Tensor, "frames 16 3"]
    hand_shape: Float[Tensor, " shape"]
    hand_translation_m: Float[Tensor, "frames 3"]
    object_rotvec: Float[Tensor, "frames 3"]
    object_translation_m: Float[Tensor, "frames 3"]
    object_scale: Float[Tensor, ""]

    def to(self, device: torch.device | str) -> "PoseArrays":
        """The same poses on another device."""
        return PoseArrays(*(value.to(device) for value in self))


@dataclass(frozen=True)
class ObjectCube:
    """The cube around the object that its field covers, in SfM units."""

    centre: Float[Tensor, "3"]
    radius: float

    def to(self, device: torch.device | str) -> "ObjectCube":
        """The same cube on another device."""
        return ObjectCube(self.centre.to(device), self.radius)


class ScenePoses(nn.Module):
    """Learnable poses on their start's device; the object's scale is one too, but only phase 2 lets it move.

    The object's translation is t = (scale / first scale) u, with u the parameter: another scale moves the object along
    its viewing rays as it grows, so that its picture stays and only contact with the hand decides.
    """

    def __init__(self, model: HandModel, start: PoseArrays, cube: ObjectCube) -> None:
        super().__init__()
        device = start.hand_rotvec.device
        self.model, self.cube = model.to(device), cube.to(device)
        self.hand_wrist = nn.Parameter(start.hand_rotvec[:, :1].clone())
        self.hand_fingers = nn.Parameter(start.hand_rotvec[:, 1:].clone())
        self.hand_shape = nn.Parameter(start.hand_shape.clone())
        self.hand_translation_m = nn.Parameter(start.hand_translation_m.clone())
        self.object_rotvec = nn.Parameter(start.object_rotvec.clone())
        self.object_place_m = nn.Parameter(start.object_translation_m.clone())
        self.log_object_growth = nn.Parameter(torch.zeros((), device=device))
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

    def arrays(self) -> PoseArrays:
        """The poses as they are, without gradient, on the CPU."""
        found = (
            torch.cat([self.hand_wrist, self.hand_fingers], 1),
            self.hand_shape,
            self.hand_translation_m,
            self.object_rotvec,
            self.object_translation_m,
            self.object_scale,
        )
        return PoseArrays(*(value.detach().cpu().clone() for value in found))

    def hand(self, frames: Int[Tensor, " some"] | slice = slice(None)) -> SkinnedHand:
        """The posed hand in the camera's frame."""
        wrist, fingers = self.hand_wrist[frames], self.hand_fingers[frames]
        return skin(
            self.model,
            pose_rotvec=torch.cat([wrist, fingers], 1),
            shape=self.hand_shape.expand(len(wrist), -1),
            translation_m=self.hand_translation_m[frames],
        )

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

    def directions_to_cam(
        self, directions: Float[Tensor, "points 3"], frame: Int[Tensor, " points"]
    ) -> Float[Tensor, "points 3"]:
        """Directions of the object's frame (its normals) in the camera's frame."""
        rotation = frame_rows(roma.rotvec_to_rotmat(self.object_rotvec), frame)
        return (rotation @ directions[..., None]).squeeze(-1)
