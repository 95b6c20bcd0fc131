"""Stage: what a phase predicts, the object's metric mesh with its poses and the posed hand, in OpenCV camera metres."""

from pathlib import Path

import numpy as np
import torch

from handloom.datasets.hand_and_object import HoldPredictions
from handloom.hand.models import configured_hand
from handloom.reconstruction.build_folder import read_build
from handloom.reconstruction.object_mesh import read_object_mesh
from handloom.reconstruction.tracks import read_poses


def write_predictions(
    build: Path, poses: Path, mesh: Path, predictions: Path, *, hand: Path | None = None, code: str = ""
) -> None:
    """Stage: the hand is the posed model, as in HOLD's evaluation, not the surface of its field."""
    model = configured_hand(hand)
    scene = read_build(build, {model.side: model})
    found, shape = read_poses(poses, scene.frame_count, model), read_object_mesh(mesh)
    with torch.no_grad():
        posed = found.hand.skinned(model)
    cam_from_object = torch.eye(4).repeat(scene.frame_count, 1, 1)
    cam_from_object[:, :3, :3] = found.object.rotation
    cam_from_object[:, :3, 3] = found.object.translation_m
    HoldPredictions(
        names=np.array(scene.names),
        object_vertices_m=shape.vertices * float(found.object_scale),
        object_faces=shape.faces,
        cam_from_object=cam_from_object.numpy(),
        intrinsics=scene.cameras.intrinsics[0].double().numpy(),
        hand_vertices_cam_m=posed.vertices_m.numpy(),
        hand_joints_cam_m=posed.keypoints_m.numpy(),
        hand_faces=model.faces.numpy().astype(np.int32),
        side=model.side,
    ).save(predictions, code=code)
