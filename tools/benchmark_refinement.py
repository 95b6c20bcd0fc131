"""Time the batched closed-form refinement against the released finite-difference BFGS, on one core.

    OMP_NUM_THREADS=1 python tools/benchmark_refinement.py

For several rotation errors of the camera pair it refines a batch of 64 pose pairs in closed form and a few of them by
BFGS (`utils/func.py` of ut-vision/S2DHand), and prints the time per sample, the ratio, the objective reached and steps
in bone lengths. Exits with 1 when the ratio falls below 1000 or the closed form is worse.
"""

import argparse
import os
import statistics
import sys
import time

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import roma  # noqa: E402  # the thread limits must be set before the libraries start
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from handloom.adaptation.rotation_guided_refinement import (  # noqa: E402
    RefinedPoses,
    refine_bfgs,
    refine_least_norm,
    rotation_objective,
)

BATCH = 64
REPEATS = 50
LEAST_RATIO = 1000
ROTATION_ERRORS_DEG = (3.0, 10.0, 25.0)
FINGERS = torch.tensor([-0.7, -0.25, 0.0, 0.25, 0.5], dtype=torch.float64)


def hands(count: int, generator: torch.Generator) -> Tensor:
    """Plausible poses in bone lengths, wrist at the origin: five curling rays of four joints, turned at random."""
    curl = torch.rand(count, 5, 1, generator=generator, dtype=torch.float64) * 0.5
    steps = torch.tensor([1.0, 1.4, 1.65, 1.85], dtype=torch.float64)
    bend = curl * torch.arange(4)
    joints = torch.stack(
        [
            steps * torch.sin(FINGERS)[:, None] * torch.cos(bend),
            -steps * torch.cos(FINGERS)[:, None] * torch.cos(bend),
            steps * torch.sin(bend),
        ],
        -1,
    ).flatten(1, 2)
    turn = roma.rotvec_to_rotmat(torch.randn(count, 3, generator=generator, dtype=torch.float64))
    return torch.cat([torch.zeros(count, 1, 3, dtype=torch.float64), joints], 1) @ turn


def pose_pairs(error_deg: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Teacher-like poses of both views, joints valid in both, and a pair rotation that is `error_deg` off."""
    poses = hands(BATCH, generator)
    truth = roma.rotvec_to_rotmat(torch.randn(3, generator=generator, dtype=torch.float64))
    axis = torch.nn.functional.normalize(torch.randn(3, generator=generator, dtype=torch.float64), dim=0)
    rotation_12 = truth @ roma.rotvec_to_rotmat(axis * torch.pi / 180 * error_deg)
    noise = 0.1 * torch.randn(2, BATCH, 20, 3, generator=generator, dtype=torch.float64)
    poses_1, poses_2 = poses.clone(), poses @ truth
    poses_1[:, 1:] += noise[0]
    poses_2[:, 1:] += noise[1]
    common = torch.rand(BATCH, 21, generator=generator) < 0.9
    common[:, 0] = True
    return poses_1, poses_2, common, rotation_12


def moved(refined: RefinedPoses, poses_1: Tensor, poses_2: Tensor, common: Tensor) -> Tensor:
    """Root mean square displacement per common joint of both views, by sample."""
    squared = (refined.view_1 - poses_1).square().sum(-1) + (refined.view_2 - poses_2).square().sum(-1)
    return ((squared * common).sum(-1) / (2 * common.sum(-1))).sqrt()


def timed_closed_form(*problem: Tensor) -> tuple[float, RefinedPoses]:
    """Median seconds per batch, and the refined poses."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        refined = refine_least_norm(*problem)
        times.append(time.perf_counter() - start)
    return statistics.median(times), refined


def main() -> int:
    """Print one line per rotation error and precision; 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bfgs-samples", type=int, default=4, help="samples refined by BFGS per rotation error")
    count = parser.parse_args().bfgs_samples
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(2024)
    kept = True
    print("rotation               time per sample                 |R - R12| at most            moved, RMS bone lengths")
    print("off       precision    closed     BFGS      ratio    start    closed   BFGS       closed  BFGS   apart")
    for error_deg in ROTATION_ERRORS_DEG:
        poses_1, poses_2, common, rotation_12 = pose_pairs(error_deg, generator)
        first = (poses_1[:count], poses_2[:count], common[:count])
        start = time.perf_counter()
        bfgs = refine_bfgs(*first, rotation_12)
        bfgs_s = (time.perf_counter() - start) / count
        f_start = rotation_objective(poses_1, poses_2, rotation_12, common.double())
        f_bfgs = rotation_objective(bfgs.view_1, bfgs.view_2, rotation_12, first[2].double())
        bfgs_moved = moved(bfgs, *first)
        for dtype in (torch.float32, torch.float64):
            batch_s, refined = timed_closed_form(poses_1.to(dtype), poses_2.to(dtype), common, rotation_12)
            ratio = bfgs_s * BATCH / batch_s
            f = rotation_objective(refined.view_1.double(), refined.view_2.double(), rotation_12, common.double())
            closed_first = RefinedPoses(refined.view_1[:count], refined.view_2[:count], refined.unchanged[:count])
            closed_moved = moved(closed_first, *first)
            apart = moved(closed_first, bfgs.view_1, bfgs.view_2, first[2])
            good = (
                ratio >= LEAST_RATIO
                and bool((f[:count] <= f_bfgs).all())
                and bool((closed_moved <= bfgs_moved * (1 + 1e-6)).all())
                and not bool(refined.unchanged.any())
            )
            kept &= good
            print(
                f"{error_deg:4.0f} deg {str(dtype)[6:]:>9} {batch_s / BATCH * 1e6:7.1f} us"
                f" {bfgs_s * 1e3:7.1f} ms {ratio:8.0f}"
                f" {f_start.max():9.3f}  {f.max():.1e}  {f_bfgs.max():.1e}"
                f"   {closed_moved.max():8.4f} {bfgs_moved.max():.4f} {apart.max():.4f}  {'ok' if good else 'NOT KEPT'}"
            )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
