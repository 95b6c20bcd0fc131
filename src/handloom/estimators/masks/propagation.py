"""Masks of all frames from marks on one: colours, optical flow and, before a still camera, the background.

Each frame takes the class of the largest smoothed posterior: colour density times a prior that the flow carries over
from the neighbouring frame. Nothing is downloaded and nothing is asked of the user while it runs.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from handloom.estimators.masks.background import StillBackground, still_background
from handloom.estimators.masks.cleaning import cleaned
from handloom.estimators.masks.colour_model import ColourModel
from handloom.estimators.masks.edge_filter import guided_filter
from handloom.estimators.masks.labels import BACKGROUND, LABEL_OF, Entity
from handloom.estimators.masks.prompt_frame import cut_prompts, part_of_prompt, region
from handloom.runtime.config.masks import Prompt, PropagationSettings

_PRIOR_FLOOR = 1e-3
_CORE_PX = 2
_SETTLING_ROUNDS = 3


def propagate(
    frames: UInt8[np.ndarray, "frames height width 3"],
    prompts: Mapping[Entity, Prompt],
    prompt_frame: int,
    settings: PropagationSettings,
) -> UInt8[np.ndarray, "frames height width"]:
    """Label images (0, 50, 150, 250) of all RGB frames, forwards and backwards from the marked one.

    Raises InputError for a mark outside the frame or one that leaves nothing.
    """
    entities = list(prompts)
    first = cut_prompts(frames[prompt_frame], prompts, settings)
    classes = np.zeros(frames.shape[:3], np.int64)
    for number, entity in enumerate(entities, start=1):
        classes[prompt_frame][first[entity]] = number
    background = still_background(frames)
    if background.trust.any():
        classes[prompt_frame] = _settled(frames[prompt_frame], classes[prompt_frame], prompts, background, settings)
    for order in (range(prompt_frame, len(frames)), range(prompt_frame, -1, -1)):
        _carry(frames, classes, list(order), len(entities), background, settings)
    table = np.array([BACKGROUND, *(LABEL_OF[entity] for entity in entities)], np.uint8)
    return table[classes]


def _settled(
    image: UInt8[np.ndarray, "height width 3"],
    classes: Int[np.ndarray, "height width"],
    prompts: Mapping[Entity, Prompt],
    background: StillBackground,
    settings: PropagationSettings,
) -> Int[np.ndarray, "height width"]:
    """The marked frame's classes once more, now that the still background tells what cannot belong to it."""
    height, width = classes.shape
    regions = [region(prompt, width, height, settings) for prompt in prompts.values()]
    prior = np.stack([np.ones((height, width), bool), *regions], -1) + np.float32(_PRIOR_FLOOR)
    prior /= prior.sum(-1, keepdims=True)
    for _ in range(_SETTLING_ROUNDS):
        models = [ColourModel() for _ in range(len(prompts) + 1)]
        _learn(models, image, classes, background)
        settled = _classified(image, prior, models, background, settings)
        for number, prompt in enumerate(prompts.values(), start=1):
            settled[(settled == number) & ~part_of_prompt(settled == number, prompt)] = 0
            if not (settled == number).any():
                return classes
        classes = settled
    return classes


def _carry(
    frames: UInt8[np.ndarray, "frames height width 3"],
    classes: Int[np.ndarray, "frames height width"],
    order: Sequence[int],
    entities: int,
    background: StillBackground,
    settings: PropagationSettings,
) -> None:
    """Fill `classes` along `order`, whose first frame is known."""
    models = [ColourModel() for _ in range(entities + 1)]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    last = frames[order[0]]
    _learn(models, last, classes[order[0]], background)
    for previous, current in pairwise(order):
        image = frames[current]
        motion = flow.calc(_grey(image), _grey(last), np.zeros((*image.shape[:2], 2), np.float32))
        prior = _carried_prior(classes[previous], motion, entities, settings.band_px)
        classes[current] = _classified(image, prior, models, background, settings)
        _learn(models, image, classes[current], background)
        last = image


def _classified(
    image: UInt8[np.ndarray, "height width 3"],
    prior: Float[np.ndarray, "height width classes"],
    models: Sequence[ColourModel],
    background: StillBackground,
    settings: PropagationSettings,
) -> Int[np.ndarray, "height width"]:
    """The class of the largest smoothed posterior at each pixel, islands and holes cleaned."""
    posterior = prior * _likelihoods(models, image, background)
    posterior /= posterior.sum(-1, keepdims=True)
    smooth = guided_filter(_grey(image) / np.float32(255), posterior, radius_px=settings.band_px)
    # Where no prior reaches there is no class to be had, whatever the smoothing spreads.
    winner = np.where(prior > 2 * _PRIOR_FLOOR, smooth, -1.0).argmax(-1)
    return _cleaned_classes(winner, prior.shape[-1] - 1, settings.smallest_share)


def _carried_prior(
    classes: Int[np.ndarray, "height width"], motion: Float[np.ndarray, "height width 2"], entities: int, band_px: int
) -> Float[np.ndarray, "height width classes"]:
    """One-hot classes of the neighbour, moved by the flow and softened over the band; sums to one."""
    height, width = classes.shape
    row, column = np.mgrid[0:height, 0:width].astype(np.float32)
    one_hot = np.eye(entities + 1, dtype=np.float32)[classes]
    moved = cv2.remap(
        one_hot, column + motion[..., 0], row + motion[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    soft = cv2.GaussianBlur(moved.reshape(height, width, -1), (0, 0), band_px / 2).reshape(height, width, -1)
    soft = np.maximum(soft, _PRIOR_FLOOR)
    return np.asarray(soft / soft.sum(-1, keepdims=True))


def _likelihoods(
    models: Sequence[ColourModel], image: UInt8[np.ndarray, "height width 3"], background: StillBackground
) -> Float[np.ndarray, "height width classes"]:
    densities = np.stack([model.density(image) for model in models], -1)
    trust = background.trust
    densities[..., 0] = trust * background.likelihood(image) + (1 - trust) * densities[..., 0]
    return densities


def _learn(
    models: Sequence[ColourModel],
    image: UInt8[np.ndarray, "height width 3"],
    classes: Int[np.ndarray, "height width"],
    background: StillBackground,
) -> None:
    for number, model in enumerate(models):
        model.learn(image, _core(classes == number))
    background.distrust(image, _core(classes > 0))


def _core(mask: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _CORE_PX + 1, 2 * _CORE_PX + 1))
    return np.asarray(cv2.erode(mask.astype(np.uint8), disc), bool)


def _cleaned_classes(
    winner: Int[np.ndarray, "height width"], entities: int, smallest_share: float
) -> Int[np.ndarray, "height width"]:
    result = np.zeros_like(winner)
    for number in range(1, entities + 1):
        mask = cleaned(winner == number, smallest_share=smallest_share)
        # A filled hole may belong to another entity; what was decided for it stays.
        result[mask & ((winner == number) | (winner == 0))] = number
    return result


def _grey(image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width"]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
