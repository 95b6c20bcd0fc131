"""Masks of all frames from marks on some: colour and texture, optical flow and, before a still camera, the background.

Each frame takes the class of the largest smoothed posterior: its appearance times a prior that the flow carries over
from the neighbouring frame; in footage without colours GrabCut then settles the edge. Nothing is downloaded and nothing
is asked of the user while it runs.
"""

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from handloom.datasets.mask_labels import BACKGROUND, LABEL_OF, Entity
from handloom.estimators.masks.appearance_model import AppearanceModel
from handloom.estimators.masks.background import StillBackground, no_background, still_background
from handloom.estimators.masks.cleaning import cleaned
from handloom.estimators.masks.edge_cut import cut_edges
from handloom.estimators.masks.edge_filter import guided_filter
from handloom.estimators.masks.pixel_features import PixelFeatures
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
    marks: Mapping[int, Mapping[Entity, Prompt]],
    settings: PropagationSettings,
) -> UInt8[np.ndarray, "frames height width"]:
    """Label images (0, 50, 150, 250) of all RGB frames, each carried from the nearest of the marked frames.

    An entity without a mark on a marked frame is not seen there. Raises InputError for a mark outside the frame or one
    that leaves nothing.
    """
    entities = list(dict.fromkeys(entity for prompts in marks.values() for entity in prompts))
    features = PixelFeatures.of(frames)
    # Without colours a shadow looks like a darker thing, and a thing like a shadow on the background.
    background = _usable_background(frames, marks, settings) if features.coloured else no_background(frames)
    classes = np.zeros(frames.shape[:3], np.int64)
    for number, prompts in marks.items():
        classes[number] = _marked_classes(frames[number], prompts, entities, features, background, settings)
    known = [AppearanceModel() for _ in range(len(entities) + 1)]
    for number in marks:
        _learn(known, features(frames[number]), classes[number], marked=True)
    background = _doubted(background, known, features) if background.usable else background
    for order in from_nearest_mark(sorted(marks), len(frames)):
        _carry(frames, classes, order, copy.deepcopy(known), features, background, settings)
    table = np.array([BACKGROUND, *(LABEL_OF[entity] for entity in entities)], np.uint8)
    return table[classes]


def from_nearest_mark(marked: Sequence[int], frames: int) -> list[range]:
    """Runs of frames that start at a marked one and end halfway to the next one, or where the video ends."""
    halfway = [(first + second) // 2 for first, second in pairwise(marked)]
    starts, ends = [0, *(middle + 1 for middle in halfway)], [*halfway, frames - 1]
    forwards = [range(mark, end + 1) for mark, end in zip(marked, ends, strict=True)]
    backwards = [range(mark, start - 1, -1) for mark, start in zip(marked, starts, strict=True)]
    return forwards + backwards


def _usable_background(
    frames: UInt8[np.ndarray, "frames height width 3"],
    marks: Mapping[int, Mapping[Entity, Prompt]],
    settings: PropagationSettings,
) -> StillBackground:
    """The still background; unusable when a marked thing itself looks like it, or if the settings forbid.

    A thing that rests would be learned as background. It shows where its click lies on what is taken for background,
    or where nearly all of its own part of the marked region does.
    """
    height, width = frames.shape[1:3]
    if not settings.still_camera:
        return no_background(frames)
    background = still_background(frames)
    for number, prompts in marks.items():
        shown = background.shows(frames[number])
        regions = [region(prompt, width, height, settings) for prompt in prompts.values()]
        for (entity, prompt), own in zip(prompts.items(), regions, strict=True):
            alone = own & (np.sum(regions, axis=0) == 1)
            resting = shown[alone if alone.any() else own].mean() > _RESTING
            if prompt.click is not None:
                column, row = (
                    min(round(value), size - 1) for value, size in zip(prompt.click, (width, height), strict=True)
                )
                resting = resting or bool(shown[row, column])
            if resting and background.usable:
                print(
                    f"masks: {entity} hardly moves; the still background is not used to tell it apart", file=sys.stderr
                )
                return no_background(frames)
    return background


def _marked_classes(
    image: UInt8[np.ndarray, "height width 3"],
    prompts: Mapping[Entity, Prompt],
    entities: Sequence[Entity],
    features: PixelFeatures,
    background: StillBackground,
    settings: PropagationSettings,
) -> Int[np.ndarray, "height width"]:
    """The classes of a marked frame: number of the entity from 1, 0 for the background."""
    sure = (background.shows(image), background.hidden(image)) if background.usable else (None, None)
    cut = cut_prompts(features.colours(image), prompts, settings, *sure)
    classes = np.zeros(image.shape[:2], np.int64)
    for number, mask in enumerate(cut.values(), start=1):
        classes[mask] = number
    if background.usable and any(prompt.outline is None for prompt in prompts.values()):
        classes = _settled(image, classes, prompts, features, background, settings)
        for number, (entity, prompt) in enumerate(prompts.items(), start=1):
            if prompt.outline is not None:
                classes[classes == number] = 0
                classes[cut[entity]] = number
    return np.array([0, *(1 + entities.index(entity) for entity in prompts)])[classes]


def _settled(
    image: UInt8[np.ndarray, "height width 3"],
    classes: Int[np.ndarray, "height width"],
    prompts: Mapping[Entity, Prompt],
    features: PixelFeatures,
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
        _learn(models, features(image), classes, marked=True)
        doubted = _doubted(background, models, features)
        settled = _classified(image, features(image), prior, models, doubted, settings)
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
    models: Sequence[AppearanceModel],
    features: PixelFeatures,
    background: StillBackground,
    settings: PropagationSettings,
) -> None:
    """Fill `classes` along `order`, whose first frame is known; the models learn on."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    _learn(models, features(frames[order[0]]), classes[order[0]])
    for previous, current in pairwise(order):
        image, last = frames[current], frames[previous]
        motion = flow.calc(_grey(image), _grey(last), np.zeros((*image.shape[:2], 2), np.float32))
        prior = _carried_prior(classes[previous], motion, len(models) - 1, settings.band_px)
        pixels = features(image)
        classes[current] = _classified(image, pixels, prior, models, background, settings)
        if not features.coloured:
            classes[current] = cut_edges(features.colours(image), classes[current], settings)
        _learn(models, pixels, classes[current])


def _doubted(
    background: StillBackground, models: Sequence[AppearanceModel], features: PixelFeatures
) -> StillBackground:
    """The background with less trust where its picture looks like one of the things: it may have rested there."""
    pixels = features(np.clip(background.colour, 0, 255).astype(np.uint8))
    behind, *things = (model.density(pixels) for model in models)
    odds = behind / (behind + np.max(things, axis=0)) if things else np.ones_like(behind)
    never_left = background.share > _ALWAYS
    share = background.share * np.where(never_left, 1.0, np.clip(2 * odds, 0, 1))
    return replace(background, share=share)


def _classified(
    image: UInt8[np.ndarray, "height width 3"],
    pixels: UInt8[np.ndarray, "height width 4"],
    prior: Float[np.ndarray, "height width classes"],
    models: Sequence[AppearanceModel],
    background: StillBackground,
    settings: PropagationSettings,
) -> Int[np.ndarray, "height width"]:
    """The class of the largest smoothed posterior at each pixel, islands and holes cleaned."""
    posterior = prior * _likelihoods(models, image, pixels, background)
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
    models: Sequence[AppearanceModel],
    image: UInt8[np.ndarray, "height width 3"],
    pixels: UInt8[np.ndarray, "height width 4"],
    background: StillBackground,
) -> Float[np.ndarray, "height width classes"]:
    densities = np.stack([model.density(pixels) for model in models], -1)
    trust = background.trust
    densities[..., 0] = trust * background.likelihood(image) + (1 - trust) * densities[..., 0]
    return densities


def _learn(
    models: Sequence[AppearanceModel],
    pixels: UInt8[np.ndarray, "height width 4"],
    classes: Int[np.ndarray, "height width"],
    *,
    marked: bool = False,
) -> None:
    for number, model in enumerate(models):
        model.learn(pixels, _core(classes == number), marked=marked)


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
