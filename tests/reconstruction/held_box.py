"""A turning hand that holds a box, ray cast by the demo's renderer, and all poses known exactly."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import trimesh
from scipy.spatial.transform import Rotation
from torch import Tensor

from handloom.demo.grasps import closed_fingers
from handloom.demo.renderer import Environment, Mesh, Scene, Topology
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.hand.anatomy import mirror_pose
from handloom.hand.joints import MIRROR, Side
from handloom.hand.mano import rest_joints_m
from handloom.hand.models import open_hand
from handloom.reconstruction.build_folder import write_build
from handloom.reconstruction.build_scene import build_scene
from handloom.reconstruction.object_mesh import SurfaceMesh
from handloom.reconstruction.observations import Observations
from handloom.reconstruction.scene_poses import ObjectCube, PosesByHand, ScenePoses
from handloom.reconstruction.tracks import SequencePoses

from ..stage_files import object_poses

MODEL = open_hand()
FRAMES, WIDTH, HEIGHT = 8, 80, 60
HALF_M = np.array([0.02, 0.02, 0.03])
SCALE = 0.37
"""Metres per SfM unit."""
CENTRE_SFM = np.array([0.3, -0.2, 0.1])
"""Where the box lies in the SfM frame, on purpose not at its origin."""
LABELS = np.array([0, 50, 150], np.uint8)


@dataclass(frozen=True)
class HeldBox:
    """The video and its truth."""

    image_u8: Tensor
    class_u8: Tensor
    depth_m: Tensor
    """Of the first surface; infinite on the background."""
    background_u8: Tensor
    """What is behind, the same in all frames."""
    intrinsics: Tensor
    poses: SequencePoses
    box_m: trimesh.Trimesh
    """The box about its own centre, finely meshed."""

    @property
    def vertices_sfm(self) -> np.ndarray:
        """The box in the SfM frame."""
        return self.box_m.vertices / SCALE + CENTRE_SFM

    @property
    def cube(self) -> ObjectCube:
        """A cube that is 1.2 times as large as the sphere around the box."""
        return ObjectCube(torch.from_numpy(CENTRE_SFM).float(), 1.2 * float(np.linalg.norm(HALF_M)) / SCALE)

    @property
    def mesh_unit(self) -> SurfaceMesh:
        """The box in its cube."""
        radius_m = self.cube.radius * SCALE
        return SurfaceMesh((self.box_m.vertices / radius_m).astype(np.float32), self.box_m.faces.astype(np.int64))

    def observations(self) -> Observations:
        """The video as trainings take it."""
        return Observations.of(self.image_u8, self.class_u8, self.intrinsics)

    def scene_poses(self) -> ScenePoses:
        """The true poses as parameters."""
        return ScenePoses(MODEL, self.poses, self.cube)

    def poses_by_hand(self, poses: SequencePoses | None = None) -> PosesByHand:
        """The true poses, or others, as trainings learn them."""
        return PosesByHand({"right": MODEL}, {"right": poses or self.poses}, self.cube)

    def object_poses(self, **given: Any) -> ObjectPoses:
        """What structure from motion would leave of the box."""
        still = np.tile(np.eye(4), (FRAMES, 1, 1))
        return object_poses(still, self.vertices_sfm, intrinsics=self.intrinsics.double().numpy(), **given)

    def write_pictures(self, folder: Path, rows: int = FRAMES) -> tuple[Path, Path]:
        """Write frames/ and masks/ as PNG, of so many frames."""
        frames, masks = folder / "frames", folder / "masks"
        for made in (frames, masks):
            made.mkdir(parents=True)
        for number in range(rows):
            cv2.imwrite(str(frames / f"{number:04d}.png"), self.image_u8[number].numpy()[..., ::-1])
            cv2.imwrite(str(masks / f"{number:04d}.png"), LABELS[self.class_u8[number].numpy()])
        return frames, masks


@cache
def held_box() -> HeldBox:
    """Render the scene, once for all tests."""
    generator = np.random.default_rng(0)
    fingers = torch.from_numpy(closed_fingers(np.full((1, 5), 0.5))[0]).float()
    rest = rest_joints_m(MODEL, torch.zeros(MODEL.shape_count)).double().numpy()
    grasp = rest[[1, 4, 7, 10]].mean(0) - rest[0] + [-0.006, -0.018 - HALF_M[1], 0.004]

    angle = 2 * np.pi * np.arange(FRAMES) / FRAMES
    tilts = np.stack([angle, 0.5 * np.sin(angle), 0.3 * np.cos(2 * angle)], 1)
    turn = Rotation.from_euler("yxz", tilts) * Rotation.from_euler("z", 1.2)
    place = np.stack([0.02 * np.sin(angle), 0.01 * np.cos(angle), np.full(FRAMES, 0.4)], 1)
    rotvec = torch.cat([torch.from_numpy(turn.as_rotvec()).float()[:, None], fingers.expand(FRAMES, 15, 3)], 1)
    poses = SequencePoses(
        rotvec,
        torch.zeros(MODEL.shape_count),
        torch.from_numpy(place - turn.apply(grasp) - rest[0]).float(),
        rotvec[:, 0].clone(),
        torch.from_numpy(place - turn.apply(SCALE * CENTRE_SFM)).float(),
        torch.tensor(SCALE),
        "right",
    )
    hands = poses.hand.skinned(MODEL).vertices_m.numpy()

    box = trimesh.creation.box(extents=2 * HALF_M).subdivide().subdivide().subdivide()
    intrinsics = np.array([[130.0, 0, (WIDTH - 1) / 2], [0, 130.0, (HEIGHT - 1) / 2], [0, 0, 1]])
    lamps = np.array([[0, -0.8, -0.6], [0.6, 0, -0.8], [-0.8, 0, -0.6], [0, 0.6, 0.8]])
    environment = Environment(lamps, np.full((4, 3), 0.45))
    background = (generator.random((HEIGHT, WIDTH, 3)) * 120).astype(np.uint8)
    image, kind = np.stack([background] * FRAMES), np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    depth = np.full(kind.shape, np.inf, np.float32)
    paint = (0.5 + 0.4 * np.sign(box.vertices) * [1, 1, -1]).astype(np.float32)
    skin_tone = np.tile(np.float32([0.8, 0.5, 0.4]), (len(hands[0]), 1))
    topologies = Topology(box.faces, len(box.vertices)), Topology(MODEL.faces.numpy(), len(hands[0]))
    for frame in range(FRAMES):
        placed = (turn[frame].apply(box.vertices) + place[frame]).astype(np.float32)
        meshes = [
            Mesh(topologies[0], placed, paint, np.full(len(box.faces), 1)),
            Mesh(topologies[1], hands[frame], skin_tone, np.full(len(MODEL.faces), 2)),
        ]
        view = Scene(meshes, environment).view(np.eye(3, 4), intrinsics, WIDTH, HEIGHT)
        window = frame, view.rows, view.columns
        image[window][view.mask] = np.clip(255 * view.radiance[view.mask], 0, 255)
        kind[window][view.mask] = view.label[view.mask]
        depth[window] = view.depth_m
    assert np.bincount(kind.ravel(), minlength=3).min() > 60 * FRAMES, np.bincount(kind.ravel())
    return HeldBox(
        image_u8=torch.from_numpy(image),
        class_u8=torch.from_numpy(kind),
        depth_m=torch.from_numpy(depth),
        background_u8=torch.from_numpy(background),
        intrinsics=torch.from_numpy(intrinsics).float(),
        poses=poses,
        box_m=box,
    )


def arrays(poses: SequencePoses) -> dict[str, Tensor]:
    """The poses' tensors by name."""
    return {name: value for name, value in vars(poses).items() if isinstance(value, Tensor)}


def in_mirror(poses: SequencePoses) -> SequencePoses:
    """The poses that a mirror across the camera's x shows, of the other hand."""
    flip = poses.object_translation_m.new_tensor(MIRROR)
    return replace(
        poses,
        hand_rotvec=mirror_pose(poses.hand_rotvec),
        hand_translation_m=poses.hand_translation_m * flip,
        object_rotvec=mirror_pose(poses.object_rotvec),
        object_translation_m=poses.object_translation_m * flip,
        side="left" if poses.side == "right" else "right",
    )


def write_small_build(folder: Path, side: Side = "right") -> Path:
    """The held box as a build folder; held by the left hand, it is the other one in a mirror, the camera the same."""
    held, model = held_box(), open_hand(side)
    frames, masks = held.write_pictures(folder)
    poses, points = held.poses, held.vertices_sfm
    if side == "left":
        poses, points = in_mirror(poses), points * MIRROR
        for path in (*frames.iterdir(), *masks.iterdir()):
            picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:, ::-1]
            cv2.imwrite(str(path), np.where(picture == 150, 250, picture) if path.parent == masks else picture)
    scene = build_scene(
        {side: poses},
        torch.from_numpy(points),
        held.intrinsics,
        {side: model},
        sequence="box",
        names=[f"{number:04d}.jpg" for number in range(FRAMES)],
        image_paths=sorted(frames.iterdir()),
        mask_paths=sorted(masks.iterdir()),
    )
    write_build(folder / "build", scene, {side: model})
    return folder / "build"
