"""Masks of all frames from marks on some: colour and texture, optical flow and, before a still camera, the background.

Each frame takes the class of the largest smoothed posterior: its appearance times a prior that the flow carries over
from the neighbouring frame; in footage without colours GrabCut then settles the edge. Nothing is downloaded and nothing
is asked of the user while it runs.
"""

import copy
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from handloom.datasets.frames import Picture, read_frames
from handloom.datasets.masks import BACKGROUND, LABEL_OF, LabelSequence
from handloom.estimators.masks.appearance import (
    AppearanceModel,
    PixelFeatures,
    StillBackground,
    Video,
    still_background,
)
from handloom.estimators.masks.grabcut import (
    BAND_PX,
    cleaned,
    clicked,
    cut_edges,
    cut_prompts,
    disc,
    part_of_prompt,
    region,
)
from handloom.estimators.masks.sequence_masks import advice_for, marks_of, write_sequence_masks
from handloom.hand.joints import Side
from handloom.runtime.config.sequences import Entity, FramePrompts, Prompt
from handloom.runtime.images import read_rgb

# Of a class at a pixel that the flow does not carry it to: smoothing may still bring it there.
_PRIOR_FLOOR = 1e-3
# A thing that was lost is looked for about the others, so far away, of the longer side, and is so likely there.
_REGAINED_SHARE, _REGAINED_PRIOR = 0.05, 0.05
# Pixels nearer to an edge than this teach no colours.
_CORE_PX = 2
_SETTLING_ROUNDS = 3  # of learning colours from a mask and cutting it by them
# Where the background is nearly always seen, things are still taken for this likely.
_SELDOM = 0.2
# A thing of which more looks like the background rests.
_RESTING = 0.9
# A pixel that shows one colour in more of the frames has never been covered for long.
_ALWAYS = 0.95
# Grey steps, as a variance of 0 to 1, above which the guided filter sees an edge.
_EDGE_VARIANCE = 1e-3

Marks = Mapping[int, Mapping[Entity, Prompt]]
Classes = Int[np.ndarray, "height width"]
"""Of pixels: 0 for the background, and the numbers of the things."""
Prior = Float[np.ndarray, "height width classes"]


def propagated_masks(
    frames: Path,
    frames_json: Path,
    marks: tuple[FramePrompts, ...],
    masks: Path,
    picture: Path,
    *,
    still_camera: bool,
    empty_fraction: float,
    largest_share: float = 1.0,
    hands: tuple[Side, ...] = ("right",),
) -> None:
    """Stage: masks carried along the frames; raises InputError as `propagate` and `write_sequence_masks` do."""
    taken = read_frames(frames, frames_json)
    where = marks_of(marks, taken)
    labels = propagate(np.stack([read_rgb(path) for path in taken.pictures]), where, still_camera=still_camera)
    write_sequence_masks(labels, taken, masks, picture, empty_fraction, largest_share, advice_for(marks), hands)


def propagate(frames: Video, marks: Marks, *, still_camera: bool = True) -> LabelSequence:
    """Label images (0, 50, 150, 250) of all RGB frames, each carried from the nearest of the marked frames.

    An entity without a mark on a marked frame is not seen there. Raises InputError for a mark outside the frame or one
    that leaves nothing.
    """
    entities = list(dict.fromkeys(entity for prompts in marks.values() for entity in prompts))
    features = PixelFeatures.of(frames)
    # Without colours a shadow looks like a darker thing, and a thing like a shadow on the background.
    background = _background_behind(frames, marks) if still_camera and features.coloured else None
    classes = np.zeros(frames.shape[:3], np.int64)
    for number, prompts in marks.items():
        numbers = np.array([0, *(1 + entities.index(entity) for entity in prompts)])
        classes[number] = numbers[_marked_classes(frames[number], prompts, features, background)]
    looks = Looks.of(len(entities), features, background)
    for number in marks:
        looks.learn(frames[number], classes[number], marked=True)
    looks = looks.doubting_the_background()
    for order in from_nearest_mark(sorted(marks), len(frames)):
        _carry(frames, classes, order, copy.deepcopy(looks))
    table = np.array([BACKGROUND, *(LABEL_OF[entity] for entity in entities)], np.uint8)
    return table[classes]


def from_nearest_mark(marked: Sequence[int], frames: int) -> list[range]:
    """Runs of frames that start at a marked one and end halfway to the next one, or where the video ends."""
    halfway = [(first + second) // 2 for first, second in pairwise(marked)]
    starts, ends = [0, *(middle + 1 for middle in halfway)], [*halfway, frames - 1]
    forwards = [range(mark, end + 1) for mark, end in zip(marked, ends, strict=True)]
    backwards = [range(mark, start - 1, -1) for mark, start in zip(marked, starts, strict=True)]
    return forwards + backwards


def guided_filter(
    guide: Float[np.ndarray, "height width"], scores: Float[np.ndarray, "height width classes"], *, radius_px: int
) -> Float[np.ndarray, "height width classes"]:
    """Per class the local linear fit a * guide + b of the scores over boxes of the radius, averaged.

    Source: He, Sun and Tang, "Guided image filtering", TPAMI 2013; for labels Hosni et al., CVPR 2011.
    """
    side = (2 * radius_px + 1, 2 * radius_px + 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.boxFilter(values, -1, side, borderType=cv2.BORDER_REFLECT)).reshape(values.shape)

    grey = guide.astype(np.float32)
    scores = scores.astype(np.float32)
    grey_mean = mean(grey)
    variance = mean(grey * grey) - grey_mean**2
    score_mean = mean(scores)
    covariance = mean(scores * grey[..., None]) - score_mean * grey_mean[..., None]
    slope = covariance / (variance + _EDGE_VARIANCE)[..., None]
    offset = score_mean - slope * grey_mean[..., None]
    return mean(slope) * grey[..., None] + mean(offset)


@dataclass(frozen=True)
class Looks:
    """What the background and the things look like; the models learn along the video."""

    features: PixelFeatures
    background: StillBackground | None
    """None where the camera moves, or where it cannot be told from the things."""
    models: list[AppearanceModel]
    """The background's, then those of the things."""

    @classmethod
    def of(cls, things: int, features: PixelFeatures, background: StillBackground | None) -> "Looks":
        """Of things that nothing is known of yet."""
        return cls(features, background, [AppearanceModel() for _ in range(things + 1)])

    def learn(self, image: Picture, classes: Classes, *, marked: bool = False) -> None:
        """Take in the appearance of the classes' pixels, but for those at their edges."""
        pixels = self.features(image)
        for number, model in enumerate(self.models):
            core = cv2.erode((classes == number).astype(np.uint8), disc(_CORE_PX))
            model.learn(pixels, core.astype(bool), marked=marked)

    def doubting_the_background(self) -> "Looks":
        """These, with less trust in the background where its picture looks like a thing: it may have rested there."""
        if self.background is None:
            return self
        pixels = self.features(np.clip(self.background.colour, 0, 255).astype(np.uint8))
        behind, *things = (model.density(pixels) for model in self.models)
        odds = behind / (behind + np.max(things, axis=0))
        trust = np.where(self.background.share > _ALWAYS, 1.0, np.clip(2 * odds, 0, 1))
        return replace(self, background=replace(self.background, share=self.background.share * trust))

    def classes(self, image: Picture, prior: Prior) -> Classes:
        """The class of the largest smoothed posterior at each pixel, islands and holes cleaned."""
        pixels, background = self.features(image), self.background
        densities = np.stack([model.density(pixels) for model in self.models], -1)
        if background is None:
            posterior = prior * densities
        else:
            trust = background.trust
            densities[..., 0] = trust * background.likelihood(image) + (1 - trust) * densities[..., 0]
            posterior = prior * densities
            # How often a pixel shows the background is how likely it does so now.
            posterior[..., 0] *= background.share
            posterior[..., 1:] *= np.maximum(1 - background.share, _SELDOM)[..., None]
        posterior /= posterior.sum(-1, keepdims=True)
        smooth = guided_filter(_grey(image) / np.float32(255), posterior, radius_px=BAND_PX)
        # Where no prior reaches there is no class to be had, whatever the smoothing spreads.
        winner = np.where(prior > 2 * _PRIOR_FLOOR, smooth, -1.0).argmax(-1)
        result = np.zeros_like(winner)
        for number in range(1, len(self.models)):
            # A filled hole may belong to another entity; what was decided for it stays.
            result[cleaned(winner == number) & ((winner == number) | (winner == 0))] = number
        return result


def _background_behind(frames: Video, marks: Marks) -> StillBackground | None:
    """The still background behind the things; none when one that is marked looks like it itself.

    A thing that rests would be learned as background. It shows where its click lies on what is taken for background,
    or where nearly all of its own part of the marked region does.
    """
    background = still_background(frames)
    if background is None:
        return None
    height, width = frames.shape[1:3]
    for number, prompts in marks.items():
        shown = background.shows(frames[number])
        regions = [region(prompt, width, height) for prompt in prompts.values()]
        for (entity, prompt), own in zip(prompts.items(), regions, strict=True):
            alone = own & (np.sum(regions, axis=0) == 1)
            resting = shown[alone if alone.any() else own].mean() > _RESTING
            if resting or (prompt.click is not None and shown[clicked(prompt.click, shown)]):
                print(
                    f"masks: {entity} hardly moves; the still background is not used to tell it apart", file=sys.stderr
                )
                return None
    return background


def _marked_classes(
    image: Picture, prompts: Mapping[Entity, Prompt], features: PixelFeatures, background: StillBackground | None
) -> Classes:
    """The things on a marked frame, numbered as their marks.

    A first cut teaches what they look like; the still background then tells what cannot belong to them. Outlines are
    taken as they are.
    """
    sure = (None, None) if background is None else (background.shows(image), background.hidden(image))
    cut = cut_prompts(features.colours(image), prompts, *sure)
    classes = np.zeros(image.shape[:2], np.int64)
    for number, mask in enumerate(cut.values(), start=1):
        classes[mask] = number
    if background is not None and any(prompt.outline is None for prompt in prompts.values()):
        classes = _settled(image, classes, list(prompts.values()), Looks.of(len(prompts), features, background))
        for number, (entity, prompt) in enumerate(prompts.items(), start=1):
            if prompt.outline is not None:
                classes[classes == number] = 0
                classes[cut[entity]] = number
    return classes


def _settled(image: Picture, classes: Classes, prompts: Sequence[Prompt], untaught: Looks) -> Classes:
    """The marked frame's classes once more, now that the still background tells what cannot belong to it."""
    height, width = classes.shape
    regions = [region(prompt, width, height) for prompt in prompts]
    prior = np.stack([np.ones((height, width), bool), *regions], -1) + np.float32(_PRIOR_FLOOR)
    prior /= prior.sum(-1, keepdims=True)
    for _ in range(_SETTLING_ROUNDS):
        looks = copy.deepcopy(untaught)
        looks.learn(image, classes, marked=True)
        settled = looks.doubting_the_background().classes(image, prior)
        for number, prompt in enumerate(prompts, start=1):
            settled[(settled == number) & ~part_of_prompt(settled == number, prompt)] = 0
            if not (settled == number).any():
                return classes
        classes = settled
    return classes


def _carry(frames: Video, classes: Int[np.ndarray, "frames height width"], order: Sequence[int], looks: Looks) -> None:
    """Fill `classes` along `order`, whose first frame is known; the models learn on."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    looks.learn(frames[order[0]], classes[order[0]])
    things = set(np.unique(classes[order[0]]).tolist()) - {0}
    for previous, current in pairwise(order):
        image, last = frames[current], frames[previous]
        motion = flow.calc(_grey(image), _grey(last), np.zeros((*image.shape[:2], 2), np.float32))
        classes[current] = looks.classes(image, _carried_prior(classes[previous], motion, len(looks.models), things))
        if not looks.features.coloured:
            classes[current] = cut_edges(looks.features.colours(image), classes[current])
        looks.learn(image, classes[current])


def _carried_prior(
    classes: Classes, motion: Float[np.ndarray, "height width 2"], count: int, things: Set[int]
) -> Prior:
    """One-hot classes of the neighbour, moved by the flow and softened over the band; sums to one.

    Of the `things`, those that the neighbour lacks may come back.
    """
    height, width = classes.shape
    row, column = np.mgrid[0:height, 0:width].astype(np.float32)
    one_hot = np.eye(count, dtype=np.float32)[classes]
    moved = cv2.remap(
        one_hot, column + motion[..., 0], row + motion[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    soft = cv2.GaussianBlur(moved.reshape(height, width, -1), (0, 0), BAND_PX / 2).reshape(height, width, -1)
    for lost in things - set(np.unique(classes).tolist()):
        # Hand and object touch: what was hidden comes back beside the other.
        near = cv2.dilate((classes > 0).astype(np.uint8), disc(round(_REGAINED_SHARE * max(height, width))))
        soft[..., lost] = _REGAINED_PRIOR * near
    soft = np.maximum(soft, _PRIOR_FLOOR)
    return np.asarray(soft / soft.sum(-1, keepdims=True))


def _grey(image: Picture) -> UInt8[np.ndarray, "height width"]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
