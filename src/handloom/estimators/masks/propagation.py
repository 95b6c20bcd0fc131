"""Masks of all frames from marks on one: colour and texture, optical flow and, before a still camera, the background.

Each frame takes the class of the largest smoothed posterior: its appearance times a prior that the flow carries over
from the neighbouring frame. Nothing is downloaded and nothing is asked of the user while it runs.
"""

import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from handloom.datasets.mask_labels import BACKGROUND, LABEL_OF, Entity
from handloom.estimators.masks.appearance_model import AppearanceModel, appearance
from handloom.estimators.masks.background import StillBackground, still_background
from handloom.estimators.masks.cleaning import cleaned
from handloom.estimators.masks.edge_filter import guided_filter
from handloom.estimators.masks.prompt_frame import cut_prompts, part_of_prompt, region
from handloom.runtime.config.masks import Prompt, PropagationSettings

_PRIOR_FLOOR = 1e-3
_CORE_PX = 2
_SETTLING_ROUNDS = 3
_SELDOM = 0.2
_RESTING = 0.9
_ALWAYS = 0.95


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
    background = _usable_background(frames, prompts, prompt_frame, settings)
    marked = frames[prompt_frame]
    sure = (background.shows(marked), background.hidden(marked)) if background.usable else (None, None)
    first = cut_prompts(marked, prompts, settings, *sure)
    classes = np.zeros(frames.shape[:3], np.int64)
    for number, entity in enumerate(entities, start=1):
        classes[prompt_frame][first[entity]] = number
    if background.usable:
        classes[prompt_frame] = _settled(frames[prompt_frame], classes[prompt_frame], prompts, background, settings)
    for order in (range(prompt_frame, len(frames)), range(prompt_frame, -1, -1)):
        _carry(frames, classes, list(order), len(entities), background, settings)
    table = np.array([BACKGROUND, *(LABEL_OF[entity] for entity in entities)], np.uint8)
    return table[classes]


def _usable_background(
    frames: UInt8[np.ndarray, "frames height width 3"],
    prompts: Mapping[Entity, Prompt],
    prompt_frame: int,
    settings: PropagationSettings,
) -> StillBackground:
    """The still background; unusable when a marked thing itself looks like it, or if the settings forbid.

    A thing that rests would be learned as background. It shows where its click lies on what is taken for background,
    or where nearly all of its own part of the marked region does.
    """
    height, width = frames.shape[1:3]
    nothing = StillBackground(np.zeros((height, width, 3), np.float32), np.zeros((height, width)))
    if not settings.still_camera:
        return nothing
    background = still_background(frames)
    shown = background.shows(frames[prompt_frame])
    regions = np.stack([region(prompt, width, height, settings) for prompt in prompts.values()])
    for (entity, prompt), own in zip(prompts.items(), regions, strict=True):
        alone = own & (regions.sum(0) == 1)
        resting = shown[alone if alone.any() else own].mean() > _RESTING
        if prompt.click is not None:
            column, row = (
                min(round(value), size - 1) for value, size in zip(prompt.click, (width, height), strict=True)
            )
            resting = resting or bool(shown[row, column])
        if resting and background.usable:
            print(f"masks: {entity} hardly moves; the still background is not used to tell it apart", file=sys.stderr)
            return nothing
    return background


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
        models = [AppearanceModel() for _ in range(len(prompts) + 1)]
        _learn(models, image, classes)
        settled = _classified(image, prior, models, _doubted(background, models), settings)
        for number, prompt in enumerate(prompts.values(), start=1):
            settled[(settled == number) & ~part_of_prompt(settled == number, prompt, settings.smallest_share)] = 0
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
    models = [AppearanceModel() for _ in range(entities + 1)]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    last = frames[order[0]]
    _learn(models, last, classes[order[0]])
    background = _doubted(background, models) if background.usable else background
    for previous, current in pairwise(order):
        image = frames[current]
        motion = flow.calc(_grey(image), _grey(last), np.zeros((*image.shape[:2], 2), np.float32))
        prior = _carried_prior(classes[previous], motion, entities, settings.band_px)
        classes[current] = _classified(image, prior, models, background, settings)
        _learn(models, image, classes[current])
        last = image


def _doubted(background: StillBackground, models: Sequence[AppearanceModel]) -> StillBackground:
    """The background with less trust where its picture looks like one of the things: it may have rested there."""
    pixels = appearance(np.clip(background.colour, 0, 255).astype(np.uint8))
    behind, *things = (model.density(pixels) for model in models)
    odds = behind / (behind + np.max(things, axis=0))
    never_left = background.share > _ALWAYS
    return StillBackground(background.colour, background.share * np.where(never_left, 1.0, np.clip(2 * odds, 0, 1)))


def _classified(
    image: UInt8[np.ndarray, "height width 3"],
    prior: Float[np.ndarray, "height width classes"],
    models: Sequence[AppearanceModel],
    background: StillBackground,
    settings: PropagationSettings,
) -> Int[np.ndarray, "height width"]:
    """The class of the largest smoothed posterior at each pixel, islands and holes cleaned."""
    posterior = prior * _likelihoods(models, image, background)
    if background.usable:
        # How often a pixel shows the background is how likely it does so now.
        posterior[..., 0] *= background.share
        posterior[..., 1:] *= np.maximum(1 - background.share, _SELDOM)[..., None]
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
    models: Sequence[AppearanceModel], image: UInt8[np.ndarray, "height width 3"], background: StillBackground
) -> Float[np.ndarray, "height width classes"]:
    pixels = appearance(image)
    densities = np.stack([model.density(pixels) for model in models], -1)
    trust = background.trust
    densities[..., 0] = trust * background.likelihood(image) + (1 - trust) * densities[..., 0]
    return densities


def _learn(
    models: Sequence[AppearanceModel],
    image: UInt8[np.ndarray, "height width 3"],
    classes: Int[np.ndarray, "height width"],
) -> None:
    pixels = appearance(image)
    for number, model in enumerate(models):
        model.learn(pixels, _core(classes == number))


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
