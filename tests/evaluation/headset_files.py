"""Writes what adaptation leaves of a small headset: crops, source predictions, rotations, adapted predictions."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from handloom.datasets.views import ViewSamples, pair_samples, save_views
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.files import write_json

PAIRS = tuple(f"{a}-{b}" for a, b in combinations(range(1, 5), 2))
PUBLISHED_ERROR_DEG = 2.0
"""Of the baseline's rotation; the one with viewing rays is exact."""
MISSES_M = {"source": 0.020, "s2dhand": 0.010, "s2dhand_sync": 0.005}


def turn_about_y(angle_rad: float) -> np.ndarray:
    """A rotation about the y axis."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


@dataclass(frozen=True)
class HeadsetFiles:
    """The files of one headset whose predictions are the truth, but for known misses of the index tip."""

    views: list[Path]
    samples: list[ViewSamples]
    source_predictions: Path
    rotations: Path
    predictions: list[Path]


def hand_in_world(hands: int, generator: np.random.Generator) -> np.ndarray:
    """Wrists at the origin, joint 9 ten centimetres away."""
    joints = generator.normal(scale=0.05, size=(hands, 21, 3))
    joints[:, 0] = 0
    joints[:, 9] = [0.1, 0, 0]
    return joints


def write_headset(folder: Path, *, hands: int = 4, seeds: tuple[int, ...] = (1, 2), px: int = 8) -> HeadsetFiles:
    """Four cameras turned about y, `hands` hands; every network misses joint 8 by its own known distance.

    Seed s of an adapted network misses by `MISSES_M` plus s millimetres.
    """
    generator = np.random.default_rng(0)
    world = hand_in_world(hands, generator)
    rotations = [turn_about_y(0.5 * camera) for camera in range(4)]
    samples = []
    for camera, rotation in enumerate(rotations):
        joints = world @ rotation.T + np.array([0, 0, 0.5])
        samples.append(
            ViewSamples(
                camera=f"HMC_{camera}",
                rank=np.arange(hands),
                file_name=np.full(hands, "image.png"),
                sequence=np.full(hands, "sequence-a"),
                frame=np.arange(hands) // 2,
                is_left=np.arange(hands) % 2 == 1,
                image_u8=generator.integers(0, 256, size=(hands, px, px), dtype=np.uint8),
                joints_cam_m=joints,
                joint_valid=np.ones((hands, 21)),
                keypoints_256px=np.full((hands, 21, 2), 128.0),
                focal_px=np.full((hands, 2), 400.0),
                principal_point_px=np.full((hands, 2), 128.0),
                crop_offset_half_widths=np.zeros((hands, 2)),
                cam_from_world_rotation=np.broadcast_to(rotation, (hands, 3, 3)),
                cam_from_world_translation_mm=np.zeros((hands, 3)),
                unreadable_image=np.array([], dtype=str),
                unreadable_reason=np.array([], dtype=str),
            )
        )
    paths = [folder / f"camera{camera + 1}.npz" for camera in range(4)]
    for path, sample in zip(paths, samples, strict=True):
        save_views(path, sample)

    def predicted(camera: int, miss_m: float) -> np.ndarray:
        """In units of the bone 0-9, as the network gives it; the miss is along the camera's y axis, which all share."""
        joints = samples[camera].joints_cam_m.copy()
        joints[:, 8, 1] += miss_m
        return (joints / 0.1).astype(np.float32)

    source = {f"joints_camera{camera + 1}": predicted(camera, MISSES_M["source"]) for camera in range(4)}
    write_arrays(folder / "source.npz", source, Header("source_predictions", extra={"root_joint": "0"}))
    exact = {pair: rotations[int(pair[0]) - 1] @ rotations[int(pair[2]) - 1].T for pair in PAIRS}
    errors = {
        "calibrated": np.eye(3).tolist(),
        **{"published_error_deg": 13.0, "single_error_deg": 9.0, "synchronised_error_deg": 4.0},
    }
    off = turn_about_y(np.radians(PUBLISHED_ERROR_DEG))
    write_json(
        folder / "rotations.json",
        {
            "estimates": {
                pair: {"published": (rotation @ off).tolist(), "single": rotation.tolist()}
                for pair, rotation in exact.items()
            },
            "diagnostics": dict.fromkeys(PAIRS, errors),
        },
    )
    adapted = []
    for pair in PAIRS:
        a, b = int(pair[0]) - 1, int(pair[2]) - 1
        index_1, index_2 = pair_samples(samples[a], samples[b])
        for variant in ("s2dhand", "s2dhand_sync"):
            for seed in seeds:
                miss_m = MISSES_M[variant] + 0.001 * seed
                arrays = {
                    "joints": np.stack([predicted(a, miss_m)[index_1], predicted(b, miss_m)[index_2]], axis=1),
                    "confidence": np.ones((len(index_1), 2, 21), dtype=np.float32),
                    "index_1": index_1,
                    "index_2": index_2,
                    "rotation_12": exact[pair] @ turn_about_y(np.radians(1)),
                }
                extra = {"root_joint": "0", "pair": pair, "variant": variant}
                path = folder / pair / variant / f"seed{seed}.predictions.npz"
                write_arrays(path, arrays, Header("pair_predictions", seed=seed, extra=extra))
                adapted.append(path)
    return HeadsetFiles(paths, samples, folder / "source.npz", folder / "rotations.json", adapted)
