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
from jaxtyping import UInt8
from PIL import Image

from handloom.datasets.mask_labels import LABEL_OF, PAINTING_ORDER, Entity
from handloom.estimators.masks.prompt_frame import outlined
from handloom.runtime.config.masks import Prompt, Sam2Settings
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_rgb

_JPEG_QUALITY = 95


def track_with_sam2(
    frames: Sequence[Path],
    marks: Mapping[int, Mapping[Entity, Prompt]],
    settings: Sam2Settings,
    *,
    device: str = "cpu",
) -> UInt8[np.ndarray, "frames height width"]:
    """Label images (0, 50, 150, 250) of all frames from marks on some; where entities overlap the object wins.

    Raises InputError when the package or the checkpoint is not there.
    """
    build = _builder()
    checkpoint = Path(settings.checkpoint)
    if not settings.checkpoint or not checkpoint.is_file():
        raise InputError(
            f"masks.sam2.checkpoint: found no file '{settings.checkpoint}'; download a checkpoint of SAM 2 yourself "
            "(its licence is Apache-2.0) and name its file here, with the matching masks.sam2.config"
        )
    predictor = build(settings.config, str(checkpoint), device=device)
    entities = dict.fromkeys(entity for prompts in marks.values() for entity in prompts)
    numbers = {entity: number for number, entity in enumerate(entities, start=1)}
    with tempfile.TemporaryDirectory(prefix="handloom-sam2-") as folder, torch.inference_mode(), _precision(device):
        for number, path in enumerate(frames):
            with Image.open(path) as image:
                image.convert("RGB").save(Path(folder) / f"{number:05d}.jpg", quality=_JPEG_QUALITY)
        state = predictor.init_state(video_path=folder)
        for frame, prompts in marks.items():
            for entity, prompt in prompts.items():
                where = {"inference_state": state, "frame_idx": frame, "obj_id": numbers[entity]}
                if prompt.outline is None:
                    predictor.add_new_points_or_box(**where, **_marks(prompt))
                else:
                    height, width = read_rgb(frames[frame]).shape[:2]
                    predictor.add_new_mask(**where, mask=outlined(prompt.outline, width, height))
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


def _precision(device: str) -> Any:
    cuda = device.startswith("cuda")
    return torch.autocast("cuda", dtype=torch.bfloat16) if cuda else contextlib.nullcontext()


def _marks(prompt: Prompt) -> dict[str, np.ndarray]:
    if prompt.box is not None:
        return {"box": np.array(prompt.box, np.float32)}
    return {"points": np.array([prompt.click], np.float32), "labels": np.array([1], np.int32)}


def _painted(
    masks: Mapping[tuple[int, int], np.ndarray], numbers: Mapping[Entity, int], count: int
) -> UInt8[np.ndarray, "frames height width"]:
    if not masks:
        raise InputError("masks.source: sam2 returned no masks; check masks.prompts")
    labels = np.zeros((count, *next(iter(masks.values())).shape), np.uint8)
    for entity in PAINTING_ORDER:
        for frame in range(count):
            mask = masks.get((frame, numbers.get(entity, -1)))
            if mask is not None:
                labels[frame][mask] = LABEL_OF[entity]
    return labels
