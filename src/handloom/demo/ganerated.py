"""GANerated Hands' layout: cropped left hands, with and without an object, each with text files of its joints."""

from functools import partial
from pathlib import Path

import numpy as np

from handloom.demo.appearance import random_person
from handloom.demo.pictures import write_colour_png
from handloom.demo.renderer import project
from handloom.demo.third_person import CAMERA_FROM_WORLD, photograph_hands, pose_hand
from handloom.demo.workers import render_all
from handloom.runtime.config.datasets import DemoSettings
from handloom.runtime.files import whole_folder
from handloom.runtime.seeds import numpy_generator

IMAGE_PX = 256
PICTURES_PER_FOLDER = 1024
INTRINSICS = np.array([[617.173, 0.0, 315.453], [0.0, 617.173, 242.259], [0.0, 0.0, 1.0]])
"""Of the uncropped 640 x 480 picture, as GANerated Hands states them."""


def render_ganerated(settings: DemoSettings, folder: Path, *, threads: int = 1) -> None:
    """Render `folder` (GANeratedHands_Release/data): {noObject,withObject}/NNNN/NNNN_{color_composed.png,...}.

    Every second picture has an object. joint2D is in pixels of the crop, joint_pos_global in millimetres of the
    camera; joint_pos is relative to the middle finger's base and divided by the distance wrist to there.
    """
    with whole_folder(folder) as target:
        for number in range(settings.ganerated_images):
            _picture_stem(target, number).parent.mkdir(parents=True, exist_ok=True)
        render = partial(_render_picture, settings.seed, target)
        for _ in render_all(render, range(settings.ganerated_images), threads=threads, label="render GANerated"):
            pass


def _picture_stem(folder: Path, number: int) -> Path:
    kind = "withObject" if number % 2 else "noObject"
    place, within = divmod(number // 2, PICTURES_PER_FOLDER)
    return folder / kind / f"{place + 1:04d}" / f"{within + 1:04d}"


def _render_picture(seed: int, folder: Path, number: int) -> None:
    generator = numpy_generator(seed, "ganerated", number)
    stem = _picture_stem(folder, number)
    person = random_person(generator)
    depth = generator.uniform(0.35, 0.7)
    pixel = np.array([generator.uniform(220, 420), generator.uniform(170, 310), 1.0])
    palm = depth * (np.linalg.inv(INTRINSICS) @ pixel)
    hand = pose_hand(generator, person, seed=seed, is_left=True, palm_m=palm, holds=bool(number % 2))
    joints = hand.track.keypoints_m[0]
    full, _ = project(joints, CAMERA_FROM_WORLD, INTRINSICS)
    extent = (full.max(0) - full.min(0)).max() * generator.uniform(1.8, 2.8)
    corner = (full.max(0) + full.min(0)) / 2 - extent / 2 + generator.uniform(-0.06, 0.06, 2) * extent
    scale = IMAGE_PX / extent
    crop = np.array([[scale, 0.0, -corner[0] * scale], [0.0, scale, -corner[1] * scale], [0.0, 0.0, 1.0]])
    picture, _ = photograph_hands(generator, [hand], crop @ INTRINSICS, IMAGE_PX)
    write_colour_png(stem.with_name(f"{stem.name}_color_composed.png"), picture)
    relative = (joints - joints[9]) / np.linalg.norm(joints[9] - joints[0])
    for name, values in (
        ("joint2D", (full - corner) * scale),
        ("joint_pos_global", 1000 * joints),
        ("joint_pos", relative),
        ("crop_params", np.array([*corner, scale])),
    ):
        text = ",".join(f"{value:.4f}" for value in values.reshape(-1))
        stem.with_name(f"{stem.name}_{name}.txt").write_text(text + "\n")
