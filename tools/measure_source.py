"""Measure a source network on rendered headset worlds that no training and no table has seen, as Markdown.

    python tools/measure_source.py src/handloom/data/detnet_small_in.safetensors --seeds 41 42 43

A world is the demo's val split of another seed: two headsets, each with a person, a room, a light and sensors. Errors
are Mono-M's: roots together, the bone 0-9 at its true length, mean over valid joints. Directions are those of the
joints: the palm's normal against the ray to the hand, the middle finger's base seen from the wrist in the picture.
"""

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float, UInt8

from handloom.datasets import AssemblyHandsSettings
from handloom.datasets.assembly_hands import annotation_files, read_annotations
from handloom.datasets.box_crops import network_image, squares_around, warp_crop
from handloom.demo.headsets import gather_assembly_split, render_assembly_sequence
from handloom.demo.plan import assembly_sequences
from handloom.estimators.detnet.checkpoint import load_checkpoint
from handloom.estimators.detnet.network import DetNet, network_input, read_out
from handloom.evaluation.pose_metrics import joint_errors, mean_of_known, mono_m, place_on_ground_truth
from handloom.hand.joints import BONE, SNAP_NAMES
from handloom.runtime.config.sources import DemoSettings
from handloom.runtime.images import read_grey

_FEWEST_VALID = 10
_FAR_TURNED_DEG = 60.0
_INDEX_BASE, _PINKY_BASE = 5, 17
_BATCH = 64


class World(NamedTuple):
    """The hands of both headsets, as a network may see them; left ones are mirrored when it does."""

    crops: UInt8[np.ndarray, "hands 256 256"]
    is_left: Bool[np.ndarray, " hands"]
    joints_m: Float[np.ndarray, "hands 21 3"]
    """In the camera's frame, mirrored to right hands."""
    valid: Float[np.ndarray, "hands 21"]
    headset: np.ndarray


def render_world(seed: int, frames: int, root: Path) -> World:
    """Render one world below a folder and cut its hands out."""
    demo, settings = DemoSettings(seed=seed, assembly_hands_val_frames=frames), AssemblyHandsSettings(root=str(root))
    files, recordings = annotation_files(settings, "val"), []
    (root / "images/ego_images_rectified/val").mkdir(parents=True)
    for plan in assembly_sequences(demo, "val"):
        recordings.append(root / f"{plan.name}.npz")
        images = root / "images/ego_images_rectified/val" / plan.name
        render_assembly_sequence(demo, "val", plan.name, images, recordings[-1])
    files.data.parent.mkdir(parents=True)
    gather_assembly_split(recordings, files.data, files.calibration, files.joints)
    hands = read_annotations(settings, "val")
    hands = hands[hands.joint_valid.sum(1) >= _FEWEST_VALID]
    squares = squares_around(hands.bbox_px)
    headset_of = {plan.name: plan.headset for plan in assembly_sequences(demo, "val")}
    mirror = np.where(hands.is_left[:, None, None], [-1.0, 1.0, 1.0], 1.0)
    return World(
        np.stack(
            [
                warp_crop(read_grey(hands.image_path(row)), squares.corner_px[row], int(squares.side_px[row]))
                for row in range(len(hands))
            ]
        ),
        hands.is_left,
        hands.joints_cam_m * mirror,
        (hands.joint_valid > 0) * 1.0,
        np.array([headset_of[hands.image_path(row).parts[-3]] for row in range(len(hands))]),
    )


def predict(network: DetNet, world: World) -> Float[np.ndarray, "hands 21 3"]:
    """The network's joints, in its own units."""
    px = network.settings.input_px
    seen = [
        network_image(crop, is_left=bool(left), input_px=px)
        for crop, left in zip(world.crops, world.is_left, strict=True)
    ]
    with torch.no_grad():
        batches = torch.from_numpy(np.stack(seen)[..., None]).split(_BATCH)
        return torch.cat([read_out(network(network_input(batch))).joints for batch in batches]).double().numpy()


def turned_deg(predicted: Float[np.ndarray, "hands 21 3"], true: Float[np.ndarray, "hands 21 3"]) -> np.ndarray:
    """Angle of the rotation that brings each prediction closest to the truth, wrists together."""
    first, second = (torch.from_numpy(each - each[:, :1]) for each in (predicted, true))
    rotation = roma.rigid_points_registration(first, second)[0]
    return np.degrees(roma.rotmat_geodesic_distance(rotation, torch.eye(3).to(rotation).expand_as(rotation)).numpy())


def groups(world: World) -> dict[str, np.ndarray]:
    """Hands by where the palm and the fingers point, and by how much of them is seen."""
    index, pinky = (world.joints_m[:, joint] - world.joints_m[:, BONE[0]] for joint in (_INDEX_BASE, _PINKY_BASE))
    normal = np.cross(index, pinky)  # out of a right hand's palm
    ray = world.joints_m.mean(1)
    towards = -(normal * ray).sum(-1) / np.linalg.norm(normal, axis=-1) / np.linalg.norm(ray, axis=-1)
    fingers = world.joints_m[:, BONE[1]] - world.joints_m[:, BONE[0]]
    down = fingers[:, 1] / np.linalg.norm(fingers, axis=-1)
    seen = world.valid.sum(1)
    return {
        "palm towards the camera (within 60 degrees)": towards > 0.5,
        "palm sideways": np.abs(towards) <= 0.5,
        "back of the hand towards the camera": towards < -0.5,
        "fingers up in the picture": down < -0.5,
        "fingers sideways": np.abs(down) <= 0.5,
        "fingers down": down > 0.5,
        "all joints valid": seen == world.valid.shape[1],
        "some hidden": (seen < world.valid.shape[1]) & (seen >= 16),
        "more than 5 hidden": seen < 16,
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--frames", type=int, default=40)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    worlds = []
    for seed in asked.seeds:
        with tempfile.TemporaryDirectory() as folder:
            worlds.append(render_world(seed, asked.frames, Path(folder)))
    for path in asked.networks:
        print("\n".join(table(load_checkpoint(path), asked.seeds, worlds, asked.frames)))


def table(network: DetNet, seeds: list[int], worlds: list[World], frames: int) -> list[str]:
    """Lines of Markdown: errors by world and headset, by direction and occlusion, by joint."""
    assert network.root_joint is not None
    placed = [place_on_ground_truth(predict(network, world), world.joints_m, network.root_joint) for world in worlds]
    errors = [joint_errors(*each) for each in placed]
    turns = [turned_deg(*each) for each in placed]
    lines = ["", f"On worlds that no training has seen (val, {frames} frames a headset), Mono-M in mm:", ""]
    lines += ["| seed | headset 1 | headset 2 | turned by more than 60 degrees |", "|---:|---:|---:|---:|"]
    for seed, world, error, turn in zip(seeds, worlds, errors, turns, strict=True):
        of = [
            mono_m(error[here], world.valid[here])
            for here in (world.headset == "headset1", world.headset == "headset2")
        ]
        lines.append(f"| {seed} | {of[0]:.1f} | {of[1]:.1f} | {100 * (turn > _FAR_TURNED_DEG).mean():.1f} % |")
    error, valid = np.concatenate(errors), np.concatenate([world.valid for world in worlds])
    lines += ["", "| hands | share | Mono-M, mm |", "|---|---:|---:|"]
    named = [groups(world) for world in worlds]
    for name in named[0]:
        here = np.concatenate([each[name] for each in named])
        lines.append(f"| {name} | {100 * here.mean():.0f} % | {mono_m(error[here], valid[here]):.1f} |")
    lines.append(f"| all | 100 % | {mono_m(error, valid):.1f} |")
    of_joints = [mean_of_known(np.where(valid[:, [k]] > 0, error[:, [k]], np.nan)) for k in range(error.shape[1])]
    lines += [
        "",
        "By joint, mm: " + ", ".join(f"{name} {value:.0f}" for name, value in zip(SNAP_NAMES, of_joints, strict=True)),
    ]
    return lines


if __name__ == "__main__":
    main()
