"""The card that goes with a source checkpoint: what it is, how it was made, how well it does."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from handloom.datasets.training_samples import load_samples
from handloom.estimators.detnet.checkpoint import KIND
from handloom.estimators.detnet.pretraining import HISTORY_COLUMNS, STEP_EPOCHS
from handloom.estimators.detnet.provenance import Provenance
from handloom.estimators.detnet.training_batches import SamplePool
from handloom.runtime.artifacts import read_weights
from handloom.runtime.config.sources import DetNetSettings, PretrainingSettings
from handloom.runtime.files import read_table, write_text

SHOWN_EPOCHS = 10
_CURVES = {
    "epoch": ("epoch", ".0f"),
    "learning_rate": ("learning rate", ".2g"),
    "train_total": ("training loss", ".2f"),
    "held_out_total": ("held-out loss", ".2f"),
    "held_out_error_mm": ("held-out error, mm", ".2f"),
}


def write_source_card(
    network: Path,
    history: Path,
    samples: Sequence[Path],
    card: Path,
    *,
    pretraining: PretrainingSettings,
    provenance: Provenance,
) -> None:
    """Stage: a Markdown card of a checkpoint that `pretrain` wrote from the samples of one or more data sets.

    Raises InputError when the checkpoint, its history or the samples cannot be read.
    """
    state, header = read_weights(network, KIND)
    table = read_table(history, HISTORY_COLUMNS)
    size = DetNetSettings.model_validate(header.extra["network"])
    sets = [load_samples(path) for path in samples]
    pool = SamplePool(sets, pretraining.held_out_fraction)
    # Names tell parameters from buffers: running statistics and counters are not learned.
    parameters = sum(
        value.numel() for name, value in state.items() if not name.endswith(("running_mean", "running_var", "tracked"))
    )
    schedule = "cosine" if pretraining.schedule == "cosine" else f"times 0.1 every {STEP_EPOCHS} epochs"
    lines = [
        f"# DetNet source checkpoint `{network.parent.name}/{network.name}`",
        "",
        f"- network: input {size.input_px} px, maps {size.map_cells} x {size.map_cells} cells, "
        f"width {size.width}, blocks {list(size.blocks)}, head width {size.head_width}; "
        f"{parameters:,} parameters",
        f"- root joint: {header.extra['root_joint']}; output in units of the bone from joint 0 to joint 9",
        *(f"- data: {line}; {len(of):,} hand crops" for line, of in zip(provenance.data, sets, strict=True)),
        *([f"- in the data: {provenance.people}"] if provenance.people else []),
        *([f"- begun as: {provenance.start}"] if provenance.start else []),
        f"- samples: {len(pool.trained):,} trained on, {len(pool.held_out):,} held out",
        f"- made by: `{provenance.command}` (code {header.code}, seed {header.seed})",
        f"- training: {len(table)} epochs, batch {pretraining.batch_size}, Adam {pretraining.learning_rate} "
        f"({schedule}), {pretraining.precision}, grey probability {pretraining.grey_probability}, "
        f"turns up to {pretraining.turn_deg:g} degrees, blur up to {pretraining.blur_px:g} px, "
        f"noise up to {pretraining.noise:g}, weights averaged with momentum {pretraining.weight_average:g}",
        f"- held out: {_held_out(table.iloc[-1], pretraining.held_out_fraction)}",
        f"- training loss of the last epoch: {table['train_total'].iloc[-1]:.2f}",
        f"- licence: {provenance.licence}",
        "",
        "The training at ten of its epochs, or fewer:",
        "",
        *_curves(table),
    ]
    write_text(card, "\n".join(lines) + "\n")


def _held_out(last: pd.Series, fraction: float) -> str:
    if np.isnan(last["held_out_error_mm"]):
        return "nothing, so the error is not known"
    return (
        f"the last {100 * fraction:g}% of each data set, not augmented; joint error {last['held_out_error_mm']:.2f} mm "
        f"after scaling to the true bone, loss {last['held_out_total']:.2f} (heat {last['held_out_heat']:.4f}, "
        f"delta {last['held_out_delta']:.4f}, location {last['held_out_location']:.4f})"
    )


def _curves(table: pd.DataFrame) -> list[str]:
    """About ten epochs, evenly spaced, the first and the last among them; `-` where nothing was held out."""
    rows = np.linspace(0, len(table) - 1, min(len(table), SHOWN_EPOCHS)).round().astype(int)
    shown = table.iloc[rows].astype(float)
    columns = [[_cell(value, form) for value in shown[name]] for name, (_, form) in _CURVES.items()]
    heads = [head for head, _ in _CURVES.values()]
    return ["| " + " | ".join(cells) + " |" for cells in (heads, ["---:"] * len(heads), *zip(*columns, strict=True))]


def _cell(value: float, form: str) -> str:
    return "-" if np.isnan(value) else format(value, form)
