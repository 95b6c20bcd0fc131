"""Supervised training of a source network on labelled data sets (facts/s2dhand.md 1.3), resumable bit by bit on CPU."""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.datasets.training_samples import load_samples
from handloom.estimators.detnet.augmentation import draw, no_augmentation
from handloom.estimators.detnet.checkpoint import save_checkpoint
from handloom.estimators.detnet.loss import DetNetLoss, detnet_loss
from handloom.estimators.detnet.network import DetNet, DetNetMaps, initialise
from handloom.estimators.detnet.readout import read_out
from handloom.estimators.detnet.training_batches import SamplePool, TrainingBatch
from handloom.runtime.checkpoints import CheckpointFolder, fingerprint
from handloom.runtime.config.detnet import DetNetSettings, PretrainingSettings
from handloom.runtime.devices import chosen_precision
from handloom.runtime.errors import InputError
from handloom.runtime.progress import progress
from handloom.runtime.seeds import torch_generator

LOSSES = DetNetLoss._fields
HISTORY_COLUMNS = (
    "epoch",
    "learning_rate",
    *(f"train_{name}" for name in LOSSES),
    *(f"held_out_{name}" for name in LOSSES),
    "held_out_error_mm",
)


@dataclass(frozen=True)
class PretrainingOutputs:
    """The files that `pretrain` writes."""

    checkpoint: Path
    """Weights, as safetensors whose header names architecture and root joint."""
    history: Path
    """Losses and held-out error of every epoch, as CSV."""


def pretrain(
    network_settings: DetNetSettings,
    settings: PretrainingSettings,
    samples: Sequence[Path],
    outputs: PretrainingOutputs,
    *,
    root_joint: int,
    seed: int,
    device: str,
    code: str = "",
) -> None:
    """Stage: train DetNet on the samples of one or more data sets.

    Adam; the learning rate falls by 0.1 every `step_epochs` or as a half cosine to zero. A killed run goes on from its
    last checkpoint (a folder `work` beside the output, named by settings, samples and code) and ends with the same
    bytes on a CPU. Raises InputError for samples that cannot be used and for a loss that is no number any more.
    """
    settings = settings.model_copy(update={"precision": chosen_precision(settings.precision, device)})
    pool = SamplePool([load_samples(path) for path in samples], settings.held_out_fraction)
    identity = fingerprint(network_settings, settings, list(samples), root_joint, seed, code)
    work = CheckpointFolder(outputs.checkpoint.parent / "work", identity)
    network = DetNet(network_settings)
    initialise(network, torch_generator(seed, "weights"))
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    history: list[list[float]] = []
    losses_of_epoch = torch.zeros(len(LOSSES), dtype=torch.float64)
    step = 0
    if (state := work.load()) is not None:
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        history, losses_of_epoch, step = state["history"], state["losses_of_epoch"], state["step"]
        print(f"going on at step {step}", file=sys.stderr)

    steps_per_epoch = len(pool.batch_order(settings.batch_size, seed, 0))
    last_checkpoint = time.monotonic()
    for epoch in range(len(history), settings.epochs):
        network.train()
        batches = pool.batch_order(settings.batch_size, seed, epoch)
        started, trained_images = time.monotonic(), 0
        for rows in progress(batches[step - epoch * steps_per_epoch :], f"epoch {epoch + 1} of {settings.epochs}"):
            augmentation = draw(len(rows), torch_generator(seed, "augmentation", step), settings.grey_probability)
            batch = pool.batch(rows, augmentation, network_settings, root_joint, device)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(settings, step, steps_per_epoch)
            _, loss = _forward(network, batch, settings.precision)
            optimiser.zero_grad(set_to_none=True)
            loss.total.backward()
            optimiser.step()
            losses_of_epoch += torch.stack([value.detach().double().cpu() for value in loss])
            step, trained_images = step + 1, trained_images + len(rows)
            if time.monotonic() - last_checkpoint > 60 * settings.checkpoint_minutes:
                work.save(step, _state(network, optimiser, history, losses_of_epoch, step))
                last_checkpoint = time.monotonic()
        seconds = time.monotonic() - started
        _check_finite(losses_of_epoch, epoch, settings)
        held_out = _evaluate(network, pool, settings, root_joint, device)
        rate = learning_rate(settings, step - 1, steps_per_epoch)
        history.append([float(epoch + 1), rate, *(losses_of_epoch / steps_per_epoch).tolist(), *held_out])
        losses_of_epoch = torch.zeros_like(losses_of_epoch)
        print(
            f"epoch {epoch + 1}: loss {history[-1][2]:.2f}, held-out loss {held_out[0]:.2f}, "
            f"error {held_out[-1]:.2f} mm, {trained_images / seconds:.0f} images/s",
            file=sys.stderr,
            flush=True,
        )
    _write_history(outputs.history, history)
    save_checkpoint(outputs.checkpoint, network, root_joint, seed=seed, code=code)
    work.remove()


def learning_rate(settings: PretrainingSettings, step: int, steps_per_epoch: int) -> float:
    """Learning rate of one step: times 0.1 every `step_epochs`, or half a cosine from the start to zero at the end."""
    if settings.schedule == "step":
        return settings.learning_rate * 0.1 ** (step // steps_per_epoch // settings.step_epochs)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / (settings.epochs * steps_per_epoch)))


def joint_errors_mm(
    joints: Float[Tensor, "batch 21 3"],
    target: Float[Tensor, "batch 21 3"],
    bone_m: Float[Tensor, " batch"],
    root_joint: int,
) -> Float[Tensor, "batch 21"]:
    """Errors of root-relative joints after scaling the prediction's bone 0-9 to the target's length (4.1).

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


def _state(
    network: DetNet, optimiser: torch.optim.Adam, history: list[list[float]], losses: Tensor, step: int
) -> dict[str, object]:
    return {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "history": history,
        "losses_of_epoch": losses,
        "step": step,
    }


def _check_finite(losses: Tensor, epoch: int, settings: PretrainingSettings) -> None:
    if not losses.isfinite().all():
        raise InputError(
            f"the loss is {losses[0].item()} in epoch {epoch + 1}: the training diverged; "
            f"lower pretraining.learning_rate (now {settings.learning_rate})"
        )


def _write_history(path: Path, history: list[list[float]]) -> None:
    import pandas as pd  # half a second that a resumed run should not pay before it trains

    from handloom.runtime.files import write_table

    frame = pd.DataFrame(history, columns=list(HISTORY_COLUMNS))
    write_table(path, frame.astype({"epoch": int}))
