"""Writes what adaptation leaves of a small headset: crops, labels, predictions, rotations; and scores it."""

from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from handloom.adaptation.pair_predictions import PairPredictions, SourcePredictions
from handloom.datasets.views import HandCrops, HandLabels, pair_rows
from handloom.evaluation.headset_scores import score_headset
from handloom.runtime.files import write_json

PAIRS = tuple(f"{a}-{b}" for a, b in combinations(range(1, 5), 2))
PUBLISHED_ERROR_DEG = 2.0
"""Of the baseline's rotation; the one with viewing rays is exact."""
MISSES_M = {"source": 0.020, "s2dhand": 0.010, "s2dhand_plus": 0.005}


def turn_about_y(angle_rad: float) -> np.ndarray:
    """A rotation about the y axis."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


@dataclass(frozen=True)
class HeadsetFiles:
    """The files of one headset whose predictions are the truth, but for known misses of the index tip."""

    crops: list[Path]
    labels: list[Path]
    source_predictions: Path
    rotations: Path
    predictions: list[Path]

    @property
    def scores(self) -> Path:
        """Where scores go, beside the other files."""
        return self.rotations.with_name("scores.csv")

    @property
    def sample_errors(self) -> Path:
        """The same of the errors of every hand."""
        return self.rotations.with_name("sample_errors.npz")


def score(files: HeadsetFiles, **changes: Any) -> pd.DataFrame:
    """The table that the stage leaves."""
    given = {**vars(files), "scores": files.scores, "sample_errors": files.sample_errors, **changes}
    del given["crops"]
    score_headset(**given, setting="in", headset="headset1", pairs=PAIRS)
    return pd.read_csv(files.scores)


def write_headset(folder: Path, *, hands: int = 4, seeds: tuple[int, ...] = (1, 2), px: int = 32) -> HeadsetFiles:
    """Four cameras turned about y, `hands` hands; every network misses joint 8 by its own known distance.

    Wrists are at the origin, joints 9 ten centimetres away. Seed s of an adapted network misses by `MISSES_M` plus s
    millimetres.
    """
    generator = np.random.default_rng(0)
    world = generator.normal(scale=0.05, size=(hands, 21, 3))
    world[:, 0], world[:, 9] = 0, [0.1, 0, 0]
    rotations = [turn_about_y(0.5 * camera) for camera in range(4)]
    known = []
    for camera, rotation in enumerate(rotations):
        named: dict[str, Any] = {"camera": f"HMC_{camera}", "rank": np.arange(hands), "frame": np.arange(hands) // 2}
        named |= {"sequence": np.full(hands, "sequence-a"), "is_left": np.arange(hands) % 2 == 1}
        HandCrops(
            **named,
            image_u8=generator.integers(0, 256, size=(hands, px, px, 1), dtype=np.uint8),
            picture_axes_from_crop=np.tile(np.eye(3), (hands, 1, 1)),
            rays=np.tile([0.0, 0, 1], (hands, 1)),
            network="detnet",
        ).save(folder / f"camera{camera + 1}.npz")
        labels = HandLabels(
            **named,
            joints_cam_m=world @ rotation.T + [0, 0, 0.5],
            joint_valid=np.ones((hands, 21)),
            keypoints_256px=np.full((hands, 21, 2), 128.0),
            focal_px=np.full((hands, 2), 400.0),
            principal_point_px=np.full((hands, 2), 128.0),
            cam_from_world_rotation=np.tile(rotation, (hands, 1, 1)),
            cam_from_world_translation_mm=np.zeros((hands, 3)),
        )
        labels.save(folder / f"camera{camera + 1}.labels.npz")
        known.append(labels)

    def predicted(camera: int, miss_m: float) -> np.ndarray:
        """In units of the bone 0-9, as the network gives it; the miss is along the camera's y axis, which all share."""
        joints = known[camera].joints_cam_m.copy()
        joints[:, 8, 1] += miss_m
        return (joints / 0.1).astype(np.float32)

    SourcePredictions(
        camera=np.repeat(np.arange(4), hands),
        joints=np.concatenate([predicted(camera, MISSES_M["source"]) for camera in range(4)]),
        confidence=np.ones((4 * hands, 21)),
        root_joint=0,
        turned=False,
    ).save(folder / "source.npz")
    exact = {pair: rotations[int(pair[0]) - 1] @ rotations[int(pair[2]) - 1].T for pair in PAIRS}
    errors = {"published_error_deg": 13.0, "single_error_deg": 9.0}
    off = turn_about_y(np.radians(PUBLISHED_ERROR_DEG))
    estimates = {pair: {"published": (turn @ off).tolist(), "single": turn.tolist()} for pair, turn in exact.items()}
    write_json(folder / "rotations.json", {"estimates": estimates, "diagnostics": dict.fromkeys(PAIRS, errors)})
    adapted = []
    for pair, variant, seed in product(PAIRS, ("s2dhand", "s2dhand_plus"), seeds):
        a, b = int(pair[0]) - 1, int(pair[2]) - 1
        rows, miss_m = np.stack(pair_rows(known[a], known[b]), axis=1), MISSES_M[variant] + 0.001 * seed
        path = folder / pair / variant / f"seed{seed}.predictions.npz"
        PairPredictions(
            pair=pair,
            variant=variant,
            seed=seed,
            root_joint=0,
            rows=rows,
            joints=np.stack([predicted(c, miss_m)[rows[:, v]] for v, c in enumerate((a, b))], axis=1),
            rotation_12=exact[pair] @ turn_about_y(np.radians(1)),
        ).save(path)
        adapted.append(path)
    cameras = [folder / f"camera{camera + 1}" for camera in range(4)]
    crops, labelled = ([path.with_suffix(suffix) for path in cameras] for suffix in (".npz", ".labels.npz"))
    return HeadsetFiles(crops, labelled, folder / "source.npz", folder / "rotations.json", adapted)
