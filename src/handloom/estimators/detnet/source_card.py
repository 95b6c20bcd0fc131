"""The card that goes with a source checkpoint: what it is, how it was made, how well it does."""

from pathlib import Path

from handloom.estimators.detnet.checkpoint import KIND
from handloom.estimators.detnet.pretraining import HISTORY_COLUMNS
from handloom.runtime.artifacts import read_weights, write_text
from handloom.runtime.config.detnet import DetNetSettings, PretrainingSettings
from handloom.runtime.tables import read_table


def write_card(
    checkpoint: Path, history: Path, output: Path, *, settings: PretrainingSettings, data: list[str], command: str
) -> None:
    """Stage: a Markdown card of a checkpoint that `pretrain` wrote; `data` is one line per data set.

    Raises InputError when the checkpoint or its history cannot be read.
    """
    state, header = read_weights(checkpoint, KIND)
    table = read_table(history, HISTORY_COLUMNS)
    network = DetNetSettings.model_validate_json(header.extra["network"])
    # Names tell parameters from buffers: running statistics and counters are not learned.
    parameters = sum(
        value.numel() for name, value in state.items() if not name.endswith(("running_mean", "running_var", "tracked"))
    )
    last = table.iloc[-1]
    lines = [
        f"# DetNet source checkpoint `{checkpoint.name}`",
        "",
        f"- network: input {network.input_px} px, maps {network.map_cells} x {network.map_cells} cells, "
        f"width {network.width}, blocks {list(network.blocks)}, head width {network.head_width}; "
        f"{parameters:,} parameters",
        f"- root joint: {header.extra['root_joint']}; output in units of the bone from joint 0 to joint 9",
        *(f"- data: {line}" for line in data),
        f"- made by: `{command}` (code {header.code}, seed {header.seed})",
        f"- training: {len(table)} epochs, batch {settings.batch_size}, Adam {settings.learning_rate} "
        f"({settings.schedule}), {settings.precision}, grey probability {settings.grey_probability}",
        f"- held out (the last {settings.held_out_fraction:.0%} of each data set, not augmented): joint error "
        f"{last['held_out_error_mm']:.2f} mm after scaling to the true bone, loss {last['held_out_total']:.2f} "
        f"(heat {last['held_out_heat']:.4f}, delta {last['held_out_delta']:.4f}, "
        f"location {last['held_out_location']:.4f})",
        f"- training loss of the last epoch: {last['train_total']:.2f}",
        "- licence: MIT, like handloom; trained on renders of a CC0 hand where the demo's data are named above",
    ]
    write_text(output, "\n".join(lines) + "\n")
