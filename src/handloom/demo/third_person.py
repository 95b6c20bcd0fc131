"""RHD and GANerated Hands: one or two hands seen by an ordinary colour camera, any direction, any person, any place."""

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from handloom.demo.grasps import closed_fingers, grasp, random_object
from handloom.demo.people import MIRROR, PALM_M, HandMotion, Person, place_hand, random_person
from handloom.demo.pictures import FLAT_PNG, NOISY_PNG, random_colour_sensor, render_all, write_pickle, write_picture
from handloom.demo.renderer import Matrix, Mesh, Scene, Vector, View, inside_image, pinhole, project_from_world
from handloom.demo.room import random_environment
from handloom.demo.textures import photograph_patch, surface_texture
from handloom.hand.joints import RHD_FROM_SNAP
from handloom.hand.models import open_hand_anatomy
from handloom.hand.pose_prior import sample_angles
from handloom.runtime.config.sources import DemoSettings
from handloom.runtime.files import whole_folder
from handloom.runtime.seeds import numpy_generator, torch_generator

CAMERA_FROM_WORLD = np.eye(3, 4)
"""A single picture needs no world of its own: its world is the camera's frame."""
OWNERS_SIDE = np.array([0.65, -0.05, 0.76])
"""Where a hand is mostly seen from, in its wrist's frame: from behind (x) and from the thumb's side (z)."""
_BANK_SIZE = 512
"""Poses, any two of which are mixed."""

RhdSplit = Literal["training", "evaluation"]
RHD_PX = 320  # as in the original
_VISIBLE_MARGIN_M = 0.025
"""Joints lie inside the hand: so deep below the surface seen there they still count as visible."""
_CLEARANCE_M = 0.03
"""Least distance between the key points of two hands."""

GANERATED_PX, GANERATED_PER_FOLDER = 256, 1024  # as in the original
GANERATED_INTRINSICS = pinhole(617.173, 617.173, 315.453, 242.259)
"""Of the uncropped 640 x 480 picture, as GANerated Hands states them."""


@dataclass(frozen=True)
class HoldingHand:
    """A hand in the camera's frame with what it holds."""

    track: HandMotion
    held: tuple[Mesh, ...]


def holding_hand(
    generator: Generator,
    person: Person,
    *,
    seed: int,
    is_left: bool,
    palm_m: Vector,
    holds: bool,
    turned: float = 0.0,
) -> HoldingHand:
    """A hand whose palm lies at `palm_m` (camera frame), turned by chance, free or around an object.

    `seed` is the data set's; it names the bank of poses. With probability `turned` it is seen from all sides alike.
    """
    # A free hand's pose mixes two of the bank's: between two possible poses all are possible.
    bank = _pose_bank(seed)
    first, second = generator.integers(len(bank), size=2)
    angles = torch.lerp(bank[first], bank[second], 0.5 * float(generator.random()) ** 2)
    fingers = open_hand_anatomy().pose_from_angles(angles[None]).double().numpy()
    rotation = _camera_from_wrist(generator, turned)
    wrist = (palm_m * MIRROR if is_left else palm_m) - rotation @ PALM_M
    bend = Rotation.from_rotvec(generator.normal(0, 0.3, 3)).as_matrix()
    elbow = wrist + 0.3 * (bend @ rotation[:, 0])
    # A forearm that comes from behind the camera would fill the picture.
    elbow[2] = max(elbow[2], 0.65 * wrist[2])
    if holds:
        thing = random_object(generator)
        chosen = grasp(generator, thing, person.shape)
        fingers = closed_fingers(np.clip(chosen.closing + generator.normal(0, 0.03, 5), -0.1, 1)[None])
    arm = {"world_from_wrist": rotation[None], "wrist_m": wrist[None], "elbow_m": elbow[None]}
    track = place_hand(person, finger_pose=fingers, is_left=is_left, **arm)
    held: tuple[Mesh, ...] = ()
    if holds:
        (turn,), (centre,) = chosen.placed(track)
        held = (thing.mesh(turn, centre),)
    return HoldingHand(track, held)


@cache
def _pose_bank(seed: int) -> Float[torch.Tensor, "poses 15 3"]:
    """Joint angles of many poses, made at once: parting fingers costs the same for one pose as for hundreds."""
    return sample_angles(torch_generator(seed, "demo", "pose bank"), _BANK_SIZE)


def _camera_from_wrist(generator: Generator, turned: float) -> Matrix:
    """A turn of the hand: any roll, seen from anywhere, but oftener from its owner's side and the thumb's.

    The viewing direction is a normal vector moved by one along that side: half lie within 55 degrees of it. People see
    and photograph hands that way, and all directions alike would take far more pictures to learn. With probability
    `turned` it is not moved: palm and back, fingers and wrist face the camera alike.
    """
    anywhere = turned > 0 and generator.random() < turned
    towards_camera = generator.normal(size=3) + (0.0 if anywhere else OWNERS_SIDE)
    roll = Rotation.from_rotvec([0.0, 0.0, generator.uniform(-np.pi, np.pi)])
    to_camera, _ = Rotation.align_vectors(np.array([[0.0, 0.0, -1.0]]), towards_camera[None])
    return np.asarray((roll * to_camera).as_matrix())


def photograph_hands(
    generator: Generator, hands: list[HoldingHand], intrinsics: Matrix, size: int
) -> tuple[np.ndarray, View]:
    """The picture (size, size, 3) in red, green, blue, and what the renderer knows about it."""
    up = generator.normal(size=3) * 0.5 + [0.0, -1.0, -0.4]
    environment = random_environment(generator, up=up / np.linalg.norm(up), channels=3)
    meshes = [mesh for hand in hands for mesh in (hand.track.mesh(0), *hand.held)]
    view = Scene(meshes, environment).view(CAMERA_FROM_WORLD, intrinsics, size, size)
    picture = _background(generator, size)
    view.cover(picture)
    return random_colour_sensor(generator).expose(picture, generator), view


def _background(generator: Generator, size: int) -> Float[np.ndarray, "size size 3"]:
    """A photograph or a surface, out of focus to a random degree."""
    if generator.random() < 0.75:
        picture = photograph_patch(generator, size, size)
    else:
        picture = cv2.resize(surface_texture(generator, 128), (size, size), interpolation=cv2.INTER_LINEAR)
    blur = float(generator.uniform(0.0, 3.0))
    if blur > 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    return picture.astype(np.float32) * np.float32(generator.uniform(0.3, 1.1))


def render_rhd(demo: DemoSettings, rhd_split: RhdSplit, folder: Path, threads: int = 1) -> None:
    """Stage: render RHD_published_v2/{split} of the Rendered Hand Pose Dataset.

    Files are color/%05d.png, mask/%05d.png and anno_{split}.pickle. Joints 0-20 are the left hand's, 21-41 the right's;
    uv_vis is in pixels, xyz in metres of the camera.
    """
    count = demo.rhd_training_images if rhd_split == "training" else demo.rhd_evaluation_images
    with whole_folder(folder) as target:
        (target / "color").mkdir()
        (target / "mask").mkdir()
        turned = demo.turned_hands if rhd_split == "training" else 0.0
        render = partial(_render_rhd, demo.seed, rhd_split, target, turned)
        annotations = render_all(render, range(count), threads=threads, label=f"render RHD {rhd_split}")
        content = {
            index: {"uv_vis": uv, "xyz": xyz, "K": camera} for index, (uv, xyz, camera) in enumerate(annotations)
        }
        write_pickle(target / f"anno_{rhd_split}.pickle", content, protocol=4)


def _render_rhd(
    seed: int, split: RhdSplit, folder: Path, turned: float, index: int
) -> tuple[Float[np.ndarray, "42 3"], Float[np.ndarray, "42 3"], Matrix]:
    """One picture and its mask; returns uv_vis, xyz and the intrinsics."""
    generator = numpy_generator(seed, "rhd", split, index)
    focal = generator.uniform(250, 330)
    intrinsics = pinhole(focal, focal, RHD_PX / 2, RHD_PX / 2)
    left, right = _both_hands(generator, seed, intrinsics, turned)
    picture, view = photograph_hands(generator, [left, right], intrinsics, RHD_PX)
    mask = np.zeros((RHD_PX, RHD_PX), np.uint8)
    mask[view.rows, view.columns] = view.label
    write_picture(folder / "color" / f"{index:05d}.png", picture, NOISY_PNG)
    write_picture(folder / "mask" / f"{index:05d}.png", mask, FLAT_PNG)
    xyz = np.concatenate([hand.track.keypoints_m[0][list(RHD_FROM_SNAP)] for hand in (left, right)])
    pixels, camera = project_from_world(xyz, CAMERA_FROM_WORLD, intrinsics)
    visible = camera[:, 2] < view.depth_at(pixels) + _VISIBLE_MARGIN_M
    visible &= inside_image(pixels, camera, RHD_PX, RHD_PX)
    return np.concatenate([pixels, visible[:, None]], axis=1), xyz, intrinsics


def _both_hands(generator: Generator, seed: int, intrinsics: Matrix, turned: float) -> tuple[HoldingHand, HoldingHand]:
    """A main hand in view and the other somewhere beside it, moved away until they do not touch."""
    person = random_person(generator)
    main_is_left = bool(generator.random() < 0.5)
    depth = generator.uniform(0.35, 0.85)
    pixel = np.array([*generator.uniform(0.28, 0.72, 2) * RHD_PX, 1.0])
    palm = depth * (np.linalg.inv(intrinsics) @ pixel)
    main = holding_hand(
        generator,
        person,
        seed=seed,
        is_left=main_is_left,
        palm_m=palm,
        holds=bool(generator.random() < 0.3),
        turned=turned,
    )
    side = np.array([1.0 if main_is_left else -1.0, *generator.normal(0, 0.5, 2)])
    side /= np.linalg.norm(side)
    state = generator.bit_generator.state
    distance = generator.uniform(0.12, 0.5)
    for _ in range(8):
        generator.bit_generator.state = state  # the same hand again, farther away
        other_palm = palm + distance * side
        other_palm[2] = max(other_palm[2], 0.3)
        other = holding_hand(generator, person, seed=seed, is_left=not main_is_left, palm_m=other_palm, holds=False)
        gap = np.linalg.norm(main.track.keypoints_m[0][:, None] - other.track.keypoints_m[0][None], axis=-1).min()
        if gap > _CLEARANCE_M:
            break
        distance += 0.04
    return (main, other) if main_is_left else (other, main)


def render_ganerated(demo: DemoSettings, folder: Path, threads: int = 1) -> None:
    """Stage: render GANeratedHands_Release/data, cropped left hands with an object in every second picture.

    Files are {noObject,withObject}/NNNN/NNNN_{color_composed.png,joint2D.txt,...}. joint2D is in pixels of the crop,
    joint_pos_global in millimetres of the camera; joint_pos is relative to the middle finger's base and divided by the
    distance wrist to there.
    """
    with whole_folder(folder) as target:
        for number in range(demo.ganerated_images):
            _picture_stem(target, number).parent.mkdir(parents=True, exist_ok=True)
        render = partial(_render_ganerated, demo.seed, target, demo.turned_hands)
        render_all(render, range(demo.ganerated_images), threads=threads, label="render GANerated")


def _picture_stem(folder: Path, number: int) -> Path:
    kind = "withObject" if number % 2 else "noObject"
    place, within = divmod(number // 2, GANERATED_PER_FOLDER)
    return folder / kind / f"{place + 1:04d}" / f"{within + 1:04d}"


def _render_ganerated(seed: int, folder: Path, turned: float, number: int) -> None:
    generator = numpy_generator(seed, "ganerated", number)
    stem = _picture_stem(folder, number)
    person = random_person(generator)
    depth = generator.uniform(0.35, 0.7)
    pixel = np.array([generator.uniform(220, 420), generator.uniform(170, 310), 1.0])
    palm = depth * (np.linalg.inv(GANERATED_INTRINSICS) @ pixel)
    holds = bool(number % 2)
    hand = holding_hand(generator, person, seed=seed, is_left=True, palm_m=palm, holds=holds, turned=turned)
    joints = hand.track.keypoints_m[0]
    full, _ = project_from_world(joints, CAMERA_FROM_WORLD, GANERATED_INTRINSICS)
    extent = (full.max(0) - full.min(0)).max() * generator.uniform(1.8, 2.8)
    corner = (full.max(0) + full.min(0)) / 2 - extent / 2 + generator.uniform(-0.06, 0.06, 2) * extent
    scale = GANERATED_PX / extent
    crop = pinhole(scale, scale, *(-corner * scale))
    picture, _ = photograph_hands(generator, [hand], crop @ GANERATED_INTRINSICS, GANERATED_PX)
    write_picture(stem.with_name(f"{stem.name}_color_composed.png"), picture, NOISY_PNG)
    relative = (joints - joints[9]) / np.linalg.norm(joints[9] - joints[0])
    for name, values in (
        ("joint2D", (full - corner) * scale),
        ("joint_pos_global", 1000 * joints),
        ("joint_pos", relative),
        ("crop_params", np.array([*corner, scale])),
    ):
        text = ",".join(f"{value:.4f}" for value in values.reshape(-1))
        stem.with_name(f"{stem.name}_{name}.txt").write_text(text + "\n")
