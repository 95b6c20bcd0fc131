"""Stage: what a phase predicts, the object's metric mesh with its poses and posed hands, in OpenCV camera metres."""

from pathlib import Path

import numpy as np
import torch

from handloom.datasets.hand_and_object import HoldPredictions
from handloom.hand.mano import HandModel
from handloom.hand.models import HandFiles, configured_hands
from handloom.reconstruction.build_folder import BuildScene, read_build
from handloom.reconstruction.object_mesh import ObjectMesh, read_object_mesh
from handloom.reconstruction.tracks import SequencePoses, read_poses


def write_predictions(
    build: Path, poses: Path, mesh: Path, predictions: Path, *, hand: HandFiles = None, code: str = ""
) -> None:
    """Stage: a hand is the posed model, as in HOLD's evaluation, not the surface of its field."""
    models = configured_hands(hand)
    scene = read_build(build, models)
    found, shape = read_poses(poses, scene.frame_count, models), read_object_mesh(mesh)
    predicted = {side: _of_hand(models[side], each, shape, scene) for side, each in found.items()}
    HoldPredictions.save_each(predictions, predicted, code=code)


def _of_hand(model: HandModel, found: SequencePoses, shape: ObjectMesh, scene: BuildScene) -> HoldPredictions:
    with torch.no_grad():
        posed = found.hand.skinned(model)
    cam_from_object = torch.eye(4).repeat(scene.frame_count, 1, 1)
    cam_from_object[:, :3, :3] = found.object.rotation
    cam_from_object[:, :3, 3] = found.object.translation_m
    return HoldPredictions(
        names=np.array(scene.names),
        object_vertices_m=shape.vertices * float(found.object_scale),
        object_faces=shape.faces,
        cam_from_object=cam_from_object.numpy(),
        intrinsics=scene.cameras.intrinsics[0].double().numpy(),
        hand_vertices_cam_m=posed.vertices_m.numpy(),
        hand_joints_cam_m=posed.keypoints_m.numpy(),
        hand_faces=model.faces.numpy().astype(np.int32),
        side=model.side,
    )
