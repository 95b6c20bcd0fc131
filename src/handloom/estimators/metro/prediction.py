"""METRO's meshes, joints and key points in handloom's conventions, for many squares (facts/comparisons.md 2.1)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from handloom.estimators.mesh_hands import MeshHands
from handloom.estimators.metro.mesh_joints import regressed_joints_m
from handloom.estimators.metro.network import Metro
from handloom.estimators.metro.preprocessing import network_input
from handloom.hand.joints import WRIST, Fingertips
from handloom.runtime.progress import progress


@dataclass(frozen=True)
class MeshJoints:
    """How joints are taken from a mesh."""

    regressor: Float[Tensor, "16 vertex"]
    tips: Fingertips


def predict(
    network: Metro,
    image_u8: UInt8[Tensor, "n px px 3"],
    mesh_joints: MeshJoints,
    *,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
) -> MeshHands:
    """Hands of RGB squares of 224 pixels that show right hands; the network must be in evaluation mode."""
    with torch.no_grad():
        batches = progress(image_u8.split(batch_size), "METRO")
        outputs = [network(network_input(batch.to(device))) for batch in batches]
    camera = torch.cat([output.camera for output in outputs]).cpu()
    return hands_of(torch.cat([output.vertices_m for output in outputs]).cpu(), camera, mesh_joints)


def hands_of(
    vertices_m: Float[Tensor, "n vertex 3"], camera: Float[Tensor, "n 3"], mesh_joints: MeshJoints
) -> MeshHands:
    """The network's mesh and camera in our conventions.

    Joints J come from the mesh, both are moved so that the wrist is the origin, and key points are
    (s (J_xy + t) + 1) / 2 with the camera (s, t). A hand is not seen where s is not positive: it would be inside out.
    """
    joints = regressed_joints_m(vertices_m, mesh_joints.regressor, mesh_joints.tips)
    wrist = joints[:, WRIST, None]
    joints, vertices = joints - wrist, vertices_m - wrist
    keypoints = (weak_perspective(joints, camera) + 1) / 2
    return MeshHands(vertices, joints, keypoints, camera[:, 0] > 0)


def weak_perspective(
    points_m: Float[Tensor, "n points 3"], camera: Float[Tensor, "n 3"]
) -> Float[Tensor, "n points 2"]:
    """s (X_xy + t), from -1 to 1 over the square, of points relative to the wrist."""
    scale, shift = camera[:, None, :1], camera[:, None, 1:]
    return scale * (points_m[..., :2] + shift)
