"""The networks that are adapted: from their source files, as safetensors, and what they see of pairs of frames."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from handloom.estimators.detnet.checkpoint import load_checkpoint, save_checkpoint
from handloom.estimators.detnet.network import DetNet
from handloom.estimators.mediapipe.landmark_network import LandmarkNetwork
from handloom.footage.crops import crop_px, cut_crops, squares_of
from handloom.footage.hands_file import FootageHands
from handloom.footage.learners import HeatMapLearner, JointLearner, PairLearner
from handloom.footage.pairing import FramePairs
from handloom.hand.joints import Side
from handloom.runtime.artifacts import Header, read_weights, write_weights
from handloom.runtime.config.footage import FootageSettings
from handloom.runtime.errors import InputError

LANDMARKS_KIND = "mediapipe_hand_landmarks"


def source_network(settings: FootageSettings, path: Path) -> Any:
    """The configured network, filled from its file, in evaluation mode; raises InputError as its reader does."""
    if settings.backend == "detnet":
        return load_checkpoint(path, settings.detnet, settings.root_joint)
    return LandmarkNetwork.of(path)


def save_adapted(
    settings: FootageSettings, path: Path, network: nn.Module, *, seed: int | None = None, code: str = ""
) -> None:
    """Write the weights as safetensors: DetNet's checkpoint, or the landmark network's names and values."""
    if isinstance(network, DetNet):
        save_checkpoint(path, network, settings.root_joint, seed=seed, code=code)
        return
    header = Header(LANDMARKS_KIND, units="m, px", frame="crop", joint_order="SNAP", seed=seed, code=code)
    write_weights(path, network.state_dict(), header)


def load_adapted(settings: FootageSettings, path: Path, source: Path) -> Any:
    """The adapted network; `source` is where its structure comes from. Raises InputError for other weights."""
    if settings.backend == "detnet":
        return load_checkpoint(path, settings.detnet, settings.root_joint)
    network, (state, _) = source_network(settings, source), read_weights(path, LANDMARKS_KIND)
    expected = network.state_dict()
    wrong = [name for name in sorted(set(expected) | set(state)) if _shape(expected, name) != _shape(state, name)]
    if wrong:
        raise InputError(f"{path}: does not fit the network of {source} ({', '.join(wrong[:4])}); adapt again")
    network.load_state_dict(state)
    return network.eval()


def _shape(state: dict[str, Any], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None


def pair_learner(
    settings: FootageSettings,
    frames: tuple[Path, Path],
    hands: tuple[FootageHands, FootageHands],
    rows: tuple[np.ndarray, np.ndarray],
    side: Side,
    device: str = "cpu",
) -> PairLearner:
    """The crops of some pairs of frames with a common hand, as the configured network sees them."""
    detnet = settings.backend == "detnet"
    size, mirrored = crop_px(settings), detnet and side == "left"
    crops, turns = [], []
    for folder, hand, index in zip(frames, hands, rows, strict=True):
        images = sorted(folder.glob("*.png"))
        if len(images) != len(hand.found):
            raise InputError(f"{folder}: holds {len(images)} frames, but {len(hand.found)} were looked at; run again")
        chosen = [images[row] for row in index]
        squares = squares_of(hand, index)
        crops.append(cut_crops(chosen, squares, size, mirrored=mirrored, black_outside=detnet))
        turns.append(hand.cam_from_crop[index])
    if detnet:
        is_left, root_joint = side == "left", settings.root_joint
        return HeatMapLearner(
            (crops[0], crops[1]), (turns[0], turns[1]), device, is_left=is_left, root_joint=root_joint
        )
    return JointLearner((crops[0], crops[1]), (turns[0], turns[1]), device)


def spread_rows(pairs: FramePairs, most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most so many pairs with a common hand, evenly over the footage."""
    left, right = pairs.rows
    chosen = np.unique(np.linspace(0, len(left) - 1, min(most, len(left))).round().astype(int))
    return left[chosen], right[chosen]
