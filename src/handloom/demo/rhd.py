"""The Rendered Hand Pose Dataset's layout: colour and mask pictures and one pickle of annotations per split."""

import pickle
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from handloom.demo.appearance import random_person
from handloom.demo.pictures import write_colour_png, write_mask_png
from handloom.demo.renderer import project
from handloom.demo.third_person import CAMERA_FROM_WORLD, PosedHand, photograph_hands, pose_hand
from handloom.demo.workers import render_all
from handloom.hand.joints import RHD_FROM_SNAP
from handloom.runtime.config.datasets import DemoSettings
from handloom.runtime.files import whole_folder
from handloom.runtime.seeds import numpy_generator

RhdSplit = Literal["training", "evaluation"]
IMAGE_PX = 320
_VISIBLE_MARGIN_M = 0.025
_CLEARANCE_M = 0.03


@dataclass(frozen=True)
class RhdAnnotation:
    """One picture: joints 0-20 are the left hand's, 21-41 the right's; metres in the camera's frame."""

    uv_vis: Float[np.ndarray, "42 3"]
    xyz_m: Float[np.ndarray, "42 3"]
    intrinsics: Float[np.ndarray, "3 3"]


def render_rhd(settings: DemoSettings, split: RhdSplit, folder: Path, *, threads: int = 1) -> None:
    """Render `folder` (RHD_published_v2/{split}): color/%05d.png, mask/%05d.png and anno_{split}.pickle."""
    count = settings.rhd_training_images if split == "training" else settings.rhd_evaluation_images
    with whole_folder(folder) as target:
        (target / "color").mkdir()
        (target / "mask").mkdir()
        render = partial(_render_picture, settings.seed, split, target)
        annotations = render_all(render, range(count), threads=threads, label=f"render RHD {split}")
        content = {
            index: {
                "uv_vis": _own(annotation.uv_vis),
                "xyz": _own(annotation.xyz_m),
                "K": _own(annotation.intrinsics),
            }
            for index, annotation in enumerate(annotations)
        }
        with (target / f"anno_{split}.pickle").open("wb") as file:
            pickle.dump(content, file, protocol=4)


def _own(values: np.ndarray) -> np.ndarray:
    """A copy that shares nothing with an array from another process, on which a pickle's bytes would depend."""
    copy = np.empty(values.shape)
    copy[:] = values
    return copy


def _render_picture(seed: int, split: RhdSplit, folder: Path, index: int) -> RhdAnnotation:
    generator = numpy_generator(seed, "rhd", split, index)
    focal = generator.uniform(250, 330)
    intrinsics = np.array([[focal, 0.0, IMAGE_PX / 2], [0.0, focal, IMAGE_PX / 2], [0.0, 0.0, 1.0]])
    left, right = _both_hands(generator, seed, intrinsics)
    picture, view = photograph_hands(generator, [left, right], intrinsics, IMAGE_PX)
    mask = np.zeros((IMAGE_PX, IMAGE_PX), np.uint8)
    mask[view.rows, view.columns] = view.label
    write_colour_png(folder / "color" / f"{index:05d}.png", picture)
    write_mask_png(folder / "mask" / f"{index:05d}.png", mask)
    xyz = np.concatenate([hand.track.keypoints_m[0][list(RHD_FROM_SNAP)] for hand in (left, right)])
    pixels, camera = project(xyz, CAMERA_FROM_WORLD, intrinsics)
    inside = ((pixels >= 0) & (pixels <= IMAGE_PX - 1)).all(1) & (camera[:, 2] > 0.05)
    visible = inside & (camera[:, 2] < view.depth_at(pixels) + _VISIBLE_MARGIN_M)
    return RhdAnnotation(np.concatenate([pixels, visible[:, None]], axis=1), xyz, intrinsics)


def _both_hands(
    generator: np.random.Generator, seed: int, intrinsics: Float[np.ndarray, "3 3"]
) -> tuple[PosedHand, PosedHand]:
    """A main hand in view and the other somewhere beside it, moved away until they do not touch."""
    person = random_person(generator)
    main_is_left = bool(generator.random() < 0.5)
    depth = generator.uniform(0.35, 0.85)
    pixel = np.array([*generator.uniform(0.28, 0.72, 2) * IMAGE_PX, 1.0])
    palm = depth * (np.linalg.inv(intrinsics) @ pixel)
    main = pose_hand(
        generator,
        person,
        seed=seed,
        is_left=main_is_left,
        palm_m=palm,
        holds=bool(generator.random() < 0.3),
    )
    side = np.array([1.0 if main_is_left else -1.0, *generator.normal(0, 0.5, 2)])
    side /= np.linalg.norm(side)
    state = generator.bit_generator.state
    distance = generator.uniform(0.12, 0.5)
    for _ in range(8):
        generator.bit_generator.state = state  # the same hand again, farther away
        other_palm = palm + distance * side
        other_palm[2] = max(other_palm[2], 0.3)
        other = pose_hand(generator, person, seed=seed, is_left=not main_is_left, palm_m=other_palm, holds=False)
        gap = np.linalg.norm(main.track.keypoints_m[0][:, None] - other.track.keypoints_m[0][None], axis=-1).min()
        if gap > _CLEARANCE_M:
            break
        distance += 0.04
    return (main, other) if main_is_left else (other, main)
