"""Measure S2DHand on a camera pair whose truth is known: rotation, errors of both views and of fused poses.

    python tools/measure_pair.py film FOLDER --seed 11          renders left.mp4, right.mp4 and truth.npz
    python tools/measure_pair.py score FOLDER RESULTS           scores results/footage/RIG against FOLDER/truth.npz
    python tools/measure_pair.py calibrated RIG.json RESULTS    scores it against the cameras' calibration

Errors are root-aligned and not rotated: wrists together, each pose scaled so that its bone 0-9 has the true length.

RIG.json tells, in OpenCV's conventions, {"size": [width, height] of both cameras' pictures, "left": {"matrix": 3 x 3,
"distortion": [...]}, "right": the same, "right_from_left": {"rotation": 3 x 3, "translation": [...]}}; hands get the
nominal size. Its truth are both views' found key points, triangulated. It cannot see what the key points of both views
have wrong alike, and a pose that was triangulated of the same key points looks better by it than it is: what of a gain
is real, rendered pairs tell.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from handloom.adaptation.fused_poses import FusedPoses
from handloom.datasets.views import FramePairs
from handloom.estimators.hands.found import FoundHands, pixel_rays, undistorted
from handloom.geometry.rotations import angle_deg
from handloom.hand.joints import BONE
from handloom.hand.proportions import NOMINAL_BONE_M
from handloom.runtime.files import read_json
from rendered_pair import Filmed, Filming, film

KINDS = ("left", "right", "fused")


def bones(joints: np.ndarray) -> np.ndarray:
    """Lengths of the hands' bones 0-9."""
    lengths: np.ndarray = np.linalg.norm(joints[:, BONE[1]] - joints[:, BONE[0]], axis=-1)[:, None, None]
    return lengths


def error_mm(joints_m: np.ndarray, true_m: np.ndarray) -> float:
    """Mean error of poses relative to the wrist, at the true length of bone 0-9."""
    true_m = true_m - true_m[:, :1]
    scaled = joints_m * (bones(true_m) / bones(joints_m))
    return float(1000 * np.linalg.norm(scaled - true_m, axis=-1).mean())


def errors(poses: FusedPoses, left_m: np.ndarray, right_m: np.ndarray, turn: np.ndarray) -> dict[str, float]:
    """What a camera pair's results have wrong, before and after adaptation, by true joints along each camera's axes."""
    figures = {}
    for ending in ("_before", ""):
        name = ending or "_after"
        found = torch.from_numpy(getattr(poses, f"right_from_left{ending}"))
        figures[f"rotation{name}_deg"] = float(angle_deg(found, torch.from_numpy(turn)))
        joints = getattr(poses, f"joints_left{ending}_m"), getattr(poses, f"joints_right{ending}_m")
        for kind, own, true in zip(
            KINDS, (*joints, getattr(poses, f"joints{ending}_m")), (left_m, right_m, left_m), strict=True
        ):
            figures[f"{kind}{name}_mm"] = error_mm(own, true)
    return figures


def scores(truth: Path, results: Path) -> dict[str, float]:
    """The figures of a rendered camera pair's results."""
    true = Filmed.load(truth)
    poses, pairing = FusedPoses.load(results / "poses.npz"), read_json(results / "pairing.json")
    pairs = FramePairs.load(results / "pairs.npz")
    return {
        "offset_s": pairing["offset_s"],
        "certainty": (pairing["estimate"] or {}).get("certainty", float("nan")),
        "pairs": float(len(pairs.common)),
        "common": float(pairs.common.sum()),
    } | errors(
        poses, true.joints_left_m[poses.index_left], true.joints_right_m[poses.index_right], true.right_from_left
    )


def calibrated_scores(rig: Path, results: Path) -> dict[str, float]:
    """The figures of a calibrated camera pair's results, and how far apart the rays of its key points pass."""
    told, poses = read_json(rig), FusedPoses.load(results / "poses.npz")
    turn = np.array(told["right_from_left"]["rotation"], float)
    shift = np.array(told["right_from_left"]["translation"], float)
    rays = []
    for view, rows in (("left", poses.index_left), ("right", poses.index_right)):
        found = FoundHands.load(results / view / "hands.npz")
        scale = read_json(results / view / "frames.json")["width_px"] / told["size"][0]
        matrix = np.array(told[view]["matrix"], float) * [[scale], [scale], [1]]
        points = undistorted(found.keypoints_px[rows].astype(float), matrix, np.array(told[view]["distortion"], float))
        rays.append(pixel_rays(points, matrix))
    joints, gap = triangulated(*rays, turn, shift)
    size = NOMINAL_BONE_M / np.median(bones(joints))
    other = joints @ turn.T + shift
    figures = errors(poses, size * joints, size * other, turn)
    return {"hands": float(len(joints)), "gap_mm": float(1000 * size * gap.mean())} | figures


def triangulated(
    rays_1: np.ndarray, rays_2: np.ndarray, turn: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points in the first camera, midway between two cameras' rays, x_2 = turn x_1 + shift, and the rays' gap."""
    origin, second = -turn.T @ shift, rays_2 @ turn
    cosine = (rays_1 * second).sum(-1)
    along_1, along_2 = rays_1 @ origin, second @ origin
    sine_squared = 1 - cosine**2
    near = rays_1 * ((along_1 - cosine * along_2) / sine_squared)[..., None]
    far = origin + second * ((cosine * along_1 - along_2) / sine_squared)[..., None]
    return (near + far) / 2, np.linalg.norm(near - far, axis=-1)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    filming = commands.add_parser("film")
    filming.add_argument("folder", type=Path)
    filming.add_argument("--seed", type=int, required=True)
    filming.add_argument("--seconds", type=float, default=5.0)
    filming.add_argument("--right-fps", type=float, default=25.0)
    filming.add_argument("--offset-s", type=float, default=0.4)
    filming.add_argument("--apart-deg", type=float, default=55.0)
    for name, truth in (("score", "folder"), ("calibrated", "rig")):
        scoring = commands.add_parser(name)
        scoring.add_argument(truth, type=Path)
        scoring.add_argument("results", type=Path)
    asked = parser.parse_args()
    if asked.command == "film":
        settings = Filming(
            seconds=asked.seconds,
            right_fps=asked.right_fps,
            offset_s=asked.offset_s,
            apart_deg=asked.apart_deg,
            width_px=640,
            height_px=480,
        )
        film(settings, asked.folder, seed=asked.seed)
        return
    if asked.command == "score":
        figures = scores(asked.folder / "truth.npz", asked.results)
    else:
        figures = calibrated_scores(asked.rig, asked.results)
    print(pd.Series(figures).round(3).to_string())


if __name__ == "__main__":
    main()
