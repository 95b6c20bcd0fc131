"""Time the batched closed-form refinement against the released finite-difference BFGS, on one core.

    OMP_NUM_THREADS=1 python tools/benchmark_refinement.py

For several rotation errors of the camera pair it refines a batch of 64 pose pairs in closed form and a few of them by
BFGS (facts/s2dhand.md 3.4 and 3.6), and prints the time per sample, the ratio, the objective reached and the step
sizes in bone lengths. Exits with 1 when the ratio falls below 1000 or the closed form is worse.
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

from handloom.adaptation.refinement import RefinedPoses, refine_bfgs, refine_least_norm, rotation_objective  # noqa: E402

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


def rms(difference: Tensor, common: Tensor) -> Tensor:
    """Root mean square length per common joint and sample."""
    squared = (difference.square().sum(-1) * common).sum(-1) / common.sum(-1)
    return squared.sqrt()


def seconds_per_batch(
    poses_1: Tensor, poses_2: Tensor, common: Tensor, rotation_12: Tensor
) -> tuple[float, RefinedPoses]:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        refined = refine_least_norm(poses_1, poses_2, common, rotation_12)
        times.append(time.perf_counter() - start)
    return statistics.median(times), refined


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bfgs-samples", type=int, default=4, help="samples refined by BFGS per rotation error")
    count = parser.parse_args().bfgs_samples
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(2024)
    fit = True
    print(
        "error   dtype    closed form   BFGS        ratio   |R - R12|: start  closed   BFGS     moved: closed BFGS  apart"
    )
    for error_deg in ROTATION_ERRORS_DEG:
        poses_1, poses_2, common, rotation_12 = pose_pairs(error_deg, generator)
        few = slice(count)
        start = time.perf_counter()
        bfgs = refine_bfgs(poses_1[few], poses_2[few], common[few], rotation_12)
        bfgs_s = (time.perf_counter() - start) / count
        weights = common.double()
        f_start = rotation_objective(poses_1, poses_2, rotation_12, weights)
        f_bfgs = rotation_objective(bfgs.view_1, bfgs.view_2, rotation_12, weights[few])
        for dtype in (torch.float32, torch.float64):
            batch_s, refined = seconds_per_batch(poses_1.to(dtype), poses_2.to(dtype), common, rotation_12)
            closed_s = batch_s / BATCH
            f_closed = rotation_objective(refined.view_1.double(), refined.view_2.double(), rotation_12, weights)
            step = torch.stack([rms(refined.view_1 - poses_1, common), rms(refined.view_2 - poses_2, common)])
            bfgs_step = torch.stack(
                [rms(bfgs.view_1 - poses_1[few], common[few]), rms(bfgs.view_2 - poses_2[few], common[few])]
            )
            apart = torch.stack(
                [
                    rms(refined.view_1[few] - bfgs.view_1, common[few]),
                    rms(refined.view_2[few] - bfgs.view_2, common[few]),
                ]
            )
            squared_step, squared_bfgs = (s.square().sum(0) for s in (step[:, few], bfgs_step))
            tolerance = 1e-6 if dtype == torch.float64 else 5e-6
            good = (
                bfgs_s / closed_s >= LEAST_RATIO
                and bool((f_closed <= tolerance).all())
                and bool((squared_step <= squared_bfgs * (1 + 1e-3)).all())
                and not bool(refined.unchanged.any())
            )
            fit &= good
            print(
                f"{error_deg:4.0f}  {str(dtype)[6:]:>8}  {closed_s * 1e6:8.1f} us  {bfgs_s * 1e3:7.1f} ms  {bfgs_s / closed_s:8.0f}"
                f"   {f_start.max():14.3f}  {f_closed.max():.1e}  {f_bfgs.max():.1e}"
                f"   {step.max():12.3f} {bfgs_step.max():.3f}  {apart.max():.3f}   {'ok' if good else 'NOT MET'}"
            )
    return 0 if fit else 1


if __name__ == "__main__":
    sys.exit(main())
