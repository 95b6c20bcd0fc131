"""The source network's answer on every hand crop of a headset: the baseline, and what the first rotation is made of."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from handloom.adaptation.pseudo_labels import mirror_left
from handloom.datasets.views import ViewSamples, load_views
from handloom.estimators.detnet.checkpoint import load_checkpoint
from handloom.estimators.detnet.network import DetNet
from handloom.estimators.detnet.prediction import Predictions, predict
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.config.detnet import DetNetSettings
from handloom.runtime.errors import InputError

KIND = "source_predictions"


def predict_view(
    network: DetNet, view: ViewSamples, rows: np.ndarray | None = None, *, device: str = "cpu"
) -> Predictions:
    """Poses in network units and the true frame (left hands un-mirrored), and confidences; of all rows if None."""
    chosen = np.arange(len(view)) if rows is None else rows
    found = predict(network, view.image_u8[chosen], device=device)
    return Predictions(mirror_left(found.joints, torch.from_numpy(view.is_left[chosen])), found.confidence)


def predict_source(
    detnet: DetNetSettings,
    source: Path,
    views: Sequence[Path],
    output: Path,
    *,
    root_joint: int,
    device: str = "cpu",
    code: str = "",
) -> None:
    """Stage: run a source checkpoint over the crops of the cameras 1, 2, ... and write one artifact of all."""
    network = load_checkpoint(source, detnet, root_joint)
    arrays: dict[str, np.ndarray] = {}
    for number, path in enumerate(views, start=1):
        found = predict_view(network, load_views(path), device=device)
        arrays[f"joints_camera{number}"] = found.joints.numpy()
        arrays[f"confidence_camera{number}"] = found.confidence.numpy()
    header = Header(
        KIND,
        units="bone 0-9",
        frame="camera",
        joint_order="SNAP",
        code=code,
        extra={"root_joint": str(root_joint), "cameras": str(len(views))},
    )
    write_arrays(output, arrays, header)


def load_source_predictions(path: Path, root_joint: int) -> list[Predictions]:
    """One `Predictions` per camera; raises InputError for a damaged file or another root joint."""
    arrays, header = read_arrays(path, KIND)
    if header.extra.get("root_joint") != str(root_joint):
        raise InputError(
            f"{path}: was made with root joint {header.extra.get('root_joint')}, expected {root_joint}; "
            "run the rule that makes it again"
        )
    cameras = range(1, int(header.extra["cameras"]) + 1)
    return [
        Predictions(torch.from_numpy(arrays[f"joints_camera{n}"]), torch.from_numpy(arrays[f"confidence_camera{n}"]))
        for n in cameras
    ]
