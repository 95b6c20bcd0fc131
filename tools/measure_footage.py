"""Measure S2DHand on a rendered camera pair whose truth is known: rotation, errors of both views and of fused poses.

    python tools/measure_footage.py film FOLDER --seed 11      renders left.mp4, right.mp4 and truth.npz
    python tools/measure_footage.py score FOLDER RESULTS       scores results/footage/RIG against FOLDER/truth.npz

Errors are root-aligned and not rotated: wrists together, each pose scaled so that its bone 0-9 has the true length.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from handloom.adaptation.fused_poses import FusedPoses
from handloom.datasets.views import FramePairs
from handloom.geometry.rotations import angle_deg
from handloom.hand.joints import BONE
from handloom.runtime.files import read_json
from rendered_pair import Filmed, Filming, film


def error_mm(joints_m: np.ndarray, true_m: np.ndarray) -> float:
    """Mean error of poses relative to the wrist, at the true length of bone 0-9."""
    true_m = true_m - true_m[:, :1]
    bones = [np.linalg.norm(each[:, BONE[1]] - each[:, BONE[0]], axis=-1)[:, None, None] for each in (joints_m, true_m)]
    return float(1000 * np.linalg.norm(joints_m * (bones[1] / bones[0]) - true_m, axis=-1).mean())


def scores(truth: Path, results: Path) -> dict[str, float]:
    """The figures of a camera pair's results."""
    true = Filmed.load(truth)
    poses, pairing = FusedPoses.load(results / "poses.npz"), read_json(results / "pairing.json")
    pairs = FramePairs.load(results / "pairs.npz")
    left, right = true.joints_left_m[poses.index_left], true.joints_right_m[poses.index_right]
    figures = {
        "offset_s": pairing["offset_s"],
        "certainty": (pairing["estimate"] or {}).get("certainty", float("nan")),
        "pairs": float(len(pairs.common)),
        "common": float(pairs.common.sum()),
    }
    turn = torch.from_numpy(true.right_from_left)
    for ending in ("_before", ""):
        name = ending or "_after"
        found = getattr(poses, f"right_from_left{ending}")
        figures[f"rotation{name}_deg"] = float(angle_deg(torch.from_numpy(found), turn))
        figures[f"left{name}_mm"] = error_mm(getattr(poses, f"joints_left{ending}_m"), left)
        figures[f"right{name}_mm"] = error_mm(getattr(poses, f"joints_right{ending}_m"), right)
        figures[f"fused{name}_mm"] = error_mm(getattr(poses, f"joints{ending}_m"), left)
    return figures


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
    scoring = commands.add_parser("score")
    scoring.add_argument("folder", type=Path)
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
    else:
        print(pd.Series(scores(asked.folder / "truth.npz", asked.results)).round(3).to_string())


if __name__ == "__main__":
    main()
