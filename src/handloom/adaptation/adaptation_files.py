"""What an adaptation leaves behind besides its weights: the adapted network's poses of all pairs, and the curves."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from handloom.adaptation.source_prediction import predict_view
from handloom.datasets.views import ViewSamples
from handloom.estimators.detnet.network import DetNet
from handloom.estimators.detnet.prediction import Predictions
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.files import write_text

KIND = "pair_predictions"


def predict_pairs(
    network: DetNet, views: tuple[ViewSamples, ViewSamples], rows: tuple[Tensor, Tensor], *, device: str
) -> list[Predictions]:
    """Both views' poses and confidences of the given rows, left hands un-mirrored."""
    return [predict_view(network, view, index.numpy(), device=device) for view, index in zip(views, rows, strict=True)]


def write_pair_predictions(
    path: Path,
    found: list[Predictions],
    rows: tuple[Tensor, Tensor],
    rotation_12: Tensor,
    notes: Mapping[str, str],
    *,
    seed: int,
    code: str,
    own_rotation_12: Tensor | None = None,
) -> None:
    """Write both views' predictions with the rows that they belong to and the rotation that merges them.

    `own_rotation_12`, if given, is the rotation that these poses themselves show; another way to merge them.
    """
    arrays = {
        "joints": torch.stack([f.joints for f in found], 1).numpy(),
        "confidence": torch.stack([f.confidence for f in found], 1).numpy(),
        "index_1": rows[0].numpy(),
        "index_2": rows[1].numpy(),
        "rotation_12": rotation_12.numpy(),
    }
    if own_rotation_12 is not None:
        arrays["own_rotation_12"] = own_rotation_12.numpy()
    header = Header(KIND, units="bone 0-9", frame="camera", joint_order="SNAP", seed=seed, code=code, extra=notes)
    write_arrays(path, arrays, header)


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """Write the curves as CSV, one row an epoch; the first row, before any training, lacks the losses."""
    columns = list(dict.fromkeys(name for row in reversed(history) for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in history)
    write_text(path, text.getvalue())
