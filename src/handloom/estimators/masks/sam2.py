"""Masks by SAM 2's video predictor, for users who have the package `sam2` and a checkpoint.

Written for facebookresearch/sam2 2b90b9f: build_sam2_video_predictor, init_state on a folder of numbered JPEG files,
add_new_points_or_box, add_new_mask, propagate_in_video.
"""

import contextlib
import importlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from handloom.datasets.frames import read_frames
from handloom.datasets.masks import LABEL_OF, PAINTING_ORDER, LabelSequence
from handloom.estimators.masks.grabcut import outlined
from handloom.estimators.masks.sequence_masks import advice_for, marks_of, write_sequence_masks
from handloom.estimators.published_weights import PublishedWeights, read_state
from handloom.hand.joints import Side
from handloom.runtime.config.sequences import Entity, FramePrompts, Prompt
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_rgb

PUBLISHED = PublishedWeights(
    network="SAM 2",
    owner="SAM 2",
    file="sam2.1_hiera_small.pt",
    home="https://github.com/facebookresearch/sam2",
    hint="of the size that masks.sam2 names",
    entry="model",
)
# SAM 2 reads JPEG only.
_JPEG_QUALITY = 95


def tracked_masks(
    given: Path,
    config: str,
    frames: Path,
    frames_json: Path,
    marks: tuple[FramePrompts, ...],
    masks: Path,
    picture: Path,
    *,
    device: str,
    empty_fraction: float,
    largest_share: float = 1.0,
    hands: tuple[Side, ...] = ("right",),
) -> None:
    """Stage: the masks that the checkpoint `given` finds; raises InputError as its parts do."""
    taken = read_frames(frames, frames_json)
    labels = track_with_sam2(taken.pictures, marks_of(marks, taken), given, config, device)
    write_sequence_masks(labels, taken, masks, picture, empty_fraction, largest_share, advice_for(marks), hands)


def track_with_sam2(
    frames: Sequence[Path], marks: Mapping[int, Mapping[Entity, Prompt]], checkpoint: Path, config: str, device: str
) -> LabelSequence:
    """Label images (0, 50, 150, 250) of all frames from marks on some; where entities overlap the object wins.

    Raises InputError when the package is not there, and for the checkpoint as `read_state` does.
    """
    builder = _builder()
    read_state(checkpoint, PUBLISHED)  # checked here: the package opens the file itself
    predictor = builder(config, str(checkpoint), device=device)
    cuda = device.startswith("cuda")
    precision: Any = torch.autocast("cuda", dtype=torch.bfloat16) if cuda else contextlib.nullcontext()
    entities = dict.fromkeys(entity for prompts in marks.values() for entity in prompts)
    numbers = {entity: number for number, entity in enumerate(entities, start=1)}
    with tempfile.TemporaryDirectory(prefix="handloom-sam2-") as folder, torch.inference_mode(), precision:
        for number, path in enumerate(frames):
            Image.fromarray(read_rgb(path)).save(Path(folder) / f"{number:05d}.jpg", quality=_JPEG_QUALITY)
        state = predictor.init_state(video_path=folder)
        for frame, prompts in marks.items():
            for entity, prompt in prompts.items():
                where = {"inference_state": state, "frame_idx": frame, "obj_id": numbers[entity]}
                if prompt.outline is not None:
                    height, width = read_rgb(frames[frame]).shape[:2]
                    predictor.add_new_mask(**where, mask=outlined(prompt.outline, width, height))
                elif prompt.box is not None:
                    predictor.add_new_points_or_box(**where, box=np.array(prompt.box, np.float32))
                else:
                    click = {"points": np.array([prompt.click], np.float32), "labels": np.array([1], np.int32)}
                    predictor.add_new_points_or_box(**where, **click)
        masks: dict[tuple[int, int], np.ndarray] = {}
        for reverse in (False, True):
            for frame, ids, logits in predictor.propagate_in_video(state, start_frame_idx=min(marks), reverse=reverse):
                for row, entity_id in enumerate(ids):
                    masks[int(frame), int(entity_id)] = (logits[row, 0] > 0).cpu().numpy()
    return _painted(masks, numbers, len(frames))


def _builder() -> Any:
    try:
        return importlib.import_module("sam2.build_sam").build_sam2_video_predictor
    except ImportError as error:
        raise InputError(
            f"masks.source: sam2 needs the package sam2, which is not installed ({error}); install it from "
            "https://github.com/facebookresearch/sam2 or set masks.source to propagation"
        ) from error


def _painted(masks: Mapping[tuple[int, int], np.ndarray], numbers: Mapping[Entity, int], count: int) -> LabelSequence:
    if not masks:
        raise InputError("masks.source: sam2 returned no masks; check masks.prompts")
    labels = np.zeros((count, *next(iter(masks.values())).shape), np.uint8)
    for entity in PAINTING_ORDER:
        for frame in range(count):
            mask = masks.get((frame, numbers.get(entity, -1)))
            if mask is not None:
                labels[frame][mask] = LABEL_OF[entity]
    return labels
