"""Supervised training of a source network on labelled data (Zhou et al., CVPR 2020), resumable bit by bit on CPU."""

import copy
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.datasets.training_samples import load_samples
from handloom.estimators.detnet.augmentation import draw, no_augmentation
from handloom.estimators.detnet.checkpoint import load_checkpoint, save_checkpoint
from handloom.estimators.detnet.growth import begin_as
from handloom.estimators.detnet.network import DetNet, DetNetMaps, initialise, read_out
from handloom.estimators.detnet.targets import DetNetLoss, detnet_loss
from handloom.estimators.detnet.training_batches import SamplePool, TrainingBatch
from handloom.runtime.checkpoints import CheckpointFolder, fingerprint
from handloom.runtime.config.sources import DetNetSettings, PretrainingSettings
from handloom.runtime.devices import chosen_precision
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_table
from handloom.runtime.progress import progress
from handloom.runtime.seeds import torch_generator

STEP_EPOCHS = 250
"""Of the schedule `step`, as published."""
LOSSES = DetNetLoss._fields
HISTORY_COLUMNS = (
    "epoch",
    "learning_rate",
    *(f"train_{name}" for name in LOSSES),
    *(f"held_out_{name}" for name in LOSSES),
    "held_out_error_mm",
)


def pretrain(
    samples: Sequence[Path],
    network: Path,
    history: Path,
    *,
    detnet: DetNetSettings,
    pretraining: PretrainingSettings,
    root_joint: int,
    work: Path,
    start: Path | None = None,
    checkpoint_seconds: int = 20,
    device: str = "cpu",
    threads: int | None = None,
    code: str = "",
) -> None:
    """Stage: train DetNet on the samples of one or more data sets.

    Adam; the learning rate falls by 0.1 every 250 epochs or as a half cosine to zero. It begins as the checkpoint
    `start`, if there is one. A killed run goes on from its last checkpoint under `work` and ends with the same bytes on
    a CPU. Raises InputError for samples or a start that cannot be used and for a loss that is no number any more.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    precision = chosen_precision(pretraining.precision, device)
    settings, seed = pretraining.model_copy(update={"precision": precision}), pretraining.seed
    pool = SamplePool([load_samples(path) for path in samples], settings.held_out_fraction)
    folder = CheckpointFolder(
        work, fingerprint(detnet, settings, list(samples), root_joint, *([start] if start else []), code)
    )
    model = DetNet(detnet, root_joint)
    initialise(model, torch_generator(seed, "weights"))
    if start is not None:
        begin_as(model, load_checkpoint(start))
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    average = copy.deepcopy(model) if settings.weight_average else model
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    curves: list[list[float]] = []
    losses_of_epoch = torch.zeros(len(LOSSES), dtype=torch.float64)
    step = 0
    if (state := folder.load()) is not None:
        model.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        curves, losses_of_epoch, step = state["history"], state["losses_of_epoch"], state["step"]
        print(f"going on at step {step}", file=sys.stderr)

    steps_per_epoch = len(pool.batch_order(settings.batch_size, seed, 0))

    def reached() -> dict[str, Any]:
        networks = {"network": model.state_dict(), "average": average.state_dict()}
        return {
            **networks,
            "optimiser": optimiser.state_dict(),
            "history": curves,
            "losses_of_epoch": losses_of_epoch,
            "step": step,
        }

    with folder.kept(checkpoint_seconds) as save:
        for epoch in range(len(curves), settings.epochs):
            model.train()
            batches = pool.batch_order(settings.batch_size, seed, epoch)
            started, trained_images = time.monotonic(), 0
            for rows in progress(batches[step - epoch * steps_per_epoch :], f"epoch {epoch + 1} of {settings.epochs}"):
                augmentation = draw(
                    len(rows),
                    torch_generator(seed, "augmentation", step),
                    settings.grey_probability,
                    largest_angle_rad=math.radians(settings.turn_deg),
                    largest_blur_px=settings.blur_px,
                    largest_noise=settings.noise,
                )
                batch = pool.batch(rows, augmentation, detnet, root_joint, device)
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(settings, step, steps_per_epoch)
                _, loss = _forward(model, batch, settings.precision)
                optimiser.zero_grad(set_to_none=True)
                loss.total.backward()
                optimiser.step()
                if average is not model:
                    _follow(average, model, min(settings.weight_average, (1 + step) / (10 + step)))
                losses_of_epoch += torch.stack([value.detach().double().cpu() for value in loss])
                step, trained_images = step + 1, trained_images + len(rows)
                save(step, reached)
            seconds = time.monotonic() - started
            if not losses_of_epoch.isfinite().all():
                raise InputError(
                    f"the loss is {losses_of_epoch[0].item()} in epoch {epoch + 1}: the training diverged; "
                    f"lower pretraining.learning_rate (now {settings.learning_rate})"
                )
            held_out = _evaluate(average, pool, settings, root_joint, device)
            rate = learning_rate(settings, step - 1, steps_per_epoch)
            curves.append([float(epoch + 1), rate, *(losses_of_epoch / steps_per_epoch).tolist(), *held_out])
            losses_of_epoch = torch.zeros_like(losses_of_epoch)
            print(
                f"epoch {epoch + 1}: loss {curves[-1][2]:.2f}, held-out loss {held_out[0]:.2f}, "
                f"error {held_out[-1]:.2f} mm, {trained_images / seconds:.0f} images/s",
                file=sys.stderr,
                flush=True,
            )
    import pandas as pd  # half a second that a resumed run should not pay before it trains

    write_table(history, pd.DataFrame(curves, columns=list(HISTORY_COLUMNS)).astype({"epoch": int}))
    save_checkpoint(network, average, seed=seed, code=code)
    folder.remove()


def learning_rate(settings: PretrainingSettings, step: int, steps_per_epoch: int) -> float:
    """Learning rate of one step: times 0.1 every 250 epochs, or half a cosine from the start to zero at the end.

    Over the first `warm_up_steps` it rises in proportion.
    """
    rate = settings.learning_rate * min(1.0, (step + 1) / max(settings.warm_up_steps, 1))
    if settings.schedule == "step":
        return rate * 0.1 ** (step // steps_per_epoch // STEP_EPOCHS)
    return rate * 0.5 * (1 + math.cos(math.pi * step / (settings.epochs * steps_per_epoch)))


@torch.no_grad()
def _follow(average: DetNet, network: DetNet, momentum: float) -> None:
    """Exponential average of weights and running statistics: a <- m a + (1 - m) w; counters are copied."""
    pairs = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
    floating = [pair for pair in pairs if pair[0].is_floating_point()]
    torch._foreach_lerp_([own for own, _ in floating], [new for _, new in floating], 1 - momentum)
    for own, new in pairs:
        if not own.is_floating_point():
            own.copy_(new)


def joint_errors_mm(
    joints: Float[Tensor, "batch 21 3"],
    target: Float[Tensor, "batch 21 3"],
    bone_m: Float[Tensor, " batch"],
    root_joint: int,
) -> Float[Tensor, "batch 21"]:
    """Errors of root-relative joints after scaling the prediction's bone 0-9 to the target's length.

    Both are in network units, the target relative to its root joint; `bone_m` is the target's bone in metres.
    """
    bone = torch.linalg.vector_norm(joints[:, 9] - joints[:, 0], dim=-1)[:, None, None]
    difference = (joints - joints[:, root_joint, None]) / bone - target
    return 1000 * bone_m[:, None] * torch.linalg.vector_norm(difference, dim=-1)


def _forward(network: DetNet, batch: TrainingBatch, precision: str) -> tuple[DetNetMaps, DetNetLoss]:
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        maps = network(batch.images)
    maps = DetNetMaps(*(values.float() for values in maps))
    flag_3d = torch.ones(len(batch.images), device=batch.images.device)
    return maps, detnet_loss(maps, batch.heat, batch.delta, batch.location, flag_3d=flag_3d, veil=batch.veil)


def _evaluate(
    network: DetNet, pool: SamplePool, settings: PretrainingSettings, root_joint: int, device: str
) -> list[float]:
    """Mean losses and mean joint error (mm) over the held-out samples, not augmented; NaN when there are none."""
    network.eval()
    losses, errors, count = torch.zeros(len(LOSSES), dtype=torch.float64), 0.0, len(pool.held_out)
    with torch.no_grad():
        for first in range(0, count, settings.batch_size):
            rows = pool.held_out[first : first + settings.batch_size]
            batch = pool.batch(rows, no_augmentation(len(rows)), network.settings, root_joint, device)
            maps, loss = _forward(network, batch, "float32")
            losses += len(rows) * torch.stack([value.double().cpu() for value in loss])
            error_mm = joint_errors_mm(read_out(maps).joints, batch.location, batch.bone_m, root_joint)
            errors += error_mm.mean(dim=1).double().sum().item()
    if not count:
        return [math.nan] * (len(LOSSES) + 1)
    return [*(losses / count).tolist(), errors / count]
