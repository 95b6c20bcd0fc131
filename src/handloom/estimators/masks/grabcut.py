"""Masks cut by GrabCut: those of a marked frame from one click, box or outline each, and the edges of carried ones.

Rother, Kolmogorov and Blake, "GrabCut", SIGGRAPH 2004, as OpenCV has it.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8
from scipy.ndimage import binary_fill_holes

from handloom.datasets.frames import Picture
from handloom.runtime.config.sequences import Entity, Prompt
from handloom.runtime.errors import InputError

BAND_PX = 6
"""The edge that the flow carries along may be off by so much; the colours decide within."""
SMALLEST_SHARE = 0.02
"""Parts smaller than this share of an entity's largest part are removed."""
# A guess of a clicked thing's size: the reach of the click, as a share of the shorter image side. Within a fifth of it
# all is the thing for sure; beyond two and a half times it, nothing is.
_CLICK_RADIUS = 0.12
_SURE_SHARE = 0.2
_BEYOND = 2.5
# The share of a box about its middle that is taken for the thing where GrabCut would lose it.
_MIDDLE_SHARE = 0.2
# Of a mark: if so much of it lies in a larger one, its thing stands before the other.
_INSIDE_SHARE = 0.8
# In the second round each entity knows the others.
_ROUNDS = 2
_PROMPT_ITERATIONS, _EDGE_ITERATIONS = 4, 2  # of GrabCut; an edge is nearly right to begin with
# Colours are learned within three bands of an entity; a core of a few pixels tells none.
_MARGIN_BANDS = 3
_FEWEST_PX = 64

Mask = Bool[np.ndarray, "height width"]
Trimap = UInt8[np.ndarray, "height width"]


def cut_prompts(
    image: Picture, prompts: Mapping[Entity, Prompt], behind: Mask | None = None, ahead: Mask | None = None
) -> dict[Entity, Mask]:
    """Masks of all entities that do not overlap: GrabCut per entity, in two rounds so that each knows the others.

    What an outline encloses is taken as it is. `behind` marks pixels that are background for sure, `ahead` those that
    are not.

    Raises InputError for a mark outside the image and for one that leaves nothing.
    """
    height, width = image.shape[:2]
    for entity, prompt in prompts.items():
        _require_inside(entity, prompt, width, height)
    trimaps = {entity: _trimap(prompt, width, height) for entity, prompt in prompts.items()}
    outlines = {entity for entity, prompt in prompts.items() if prompt.outline is not None}
    for entity in trimaps.keys() - outlines:
        for known in (behind, *(trimaps[other] == cv2.GC_FGD for other in outlines)):
            if known is not None:
                trimaps[entity][known] = cv2.GC_BGD
    if ahead is not None:
        alone = np.sum([trimap != cv2.GC_BGD for trimap in trimaps.values()], axis=0) == 1
        for trimap in trimaps.values():
            trimap[ahead & alone & (trimap == cv2.GC_PR_FGD)] = cv2.GC_FGD
    front = _in_front(trimaps)
    sure = {entity: trimap == cv2.GC_FGD for entity, trimap in trimaps.items()}
    masks: dict[Entity, Mask] = {}
    for _ in range(_ROUNDS):
        for entity in sorted(trimaps, key=lambda each: each not in front):
            trimap = trimaps[entity]
            if entity in outlines:
                masks[entity] = sure[entity] & ~np.any([masks[other] for other in masks if other != entity], axis=0)
                continue
            others = {other: masks.get(other, sure[other]) for other in trimaps if other != entity}
            none = [np.zeros(trimap.shape, bool)]
            before = np.any(none + [mask for other, mask in others.items() if other in front - {entity}], axis=0)
            before &= entity not in front
            doubted = none + [mask for other, mask in others.items() if other in front or entity not in front]
            taken = np.any(doubted, axis=0) & ~sure[entity]
            if not np.isin(trimap, (cv2.GC_BGD, cv2.GC_PR_BGD)).any():
                raise InputError(
                    f"masks.prompts.{entity}: {_shown(prompts[entity])} covers the whole frame of {width}x{height} "
                    "pixels, but GrabCut learns the background from outside of it; leave a margin, or give an outline"
                )
            trimap = np.where(before, cv2.GC_BGD, trimap).astype(np.uint8)
            mask = _cut(image, _doubting(trimap, taken), _PROMPT_ITERATIONS)
            if not mask.any():
                with_middle = np.where(_middle(trimap), cv2.GC_FGD, trimap).astype(np.uint8)
                mask = _cut(image, _doubting(with_middle, taken), _PROMPT_ITERATIONS)
            masks[entity] = part_of_prompt(cleaned(mask, 0.0), prompts[entity], 1.0) & ~before
    for entity, mask in masks.items():
        if not mask.any():
            raise InputError(
                f"masks.prompts.{entity}: the mark {_shown(prompts[entity])} leaves nothing after GrabCut; mark "
                "another spot or frame, or use a box or an outline"
            )
    return {entity: masks[entity] for entity in prompts}


def region(prompt: Prompt, width: int, height: int) -> Mask:
    """Where the marked thing may be: the box, or a disc about the click."""
    return np.asarray(_trimap(prompt, width, height) != cv2.GC_BGD, bool)


def outlined(outline: Sequence[tuple[float, float]], width: int, height: int) -> Mask:
    """The pixels that a polygon of columns and rows encloses."""
    corners = np.round(np.array(outline)).astype(np.int32)
    return np.asarray(cv2.fillPoly(np.zeros((height, width), np.uint8), [corners], 1), bool)


def clicked(click: tuple[float, float], image: np.ndarray) -> tuple[int, int]:
    """Row and column of the image's pixel that a click hits."""
    height, width = image.shape[:2]
    return min(round(click[1]), height - 1), min(round(click[0]), width - 1)


def part_of_prompt(mask: Mask, prompt: Prompt, smallest_share: float = SMALLEST_SHARE) -> Mask:
    """The connected part under the click, or the largest of a box and those of at least a share of its size."""
    parts, large = _large_parts(mask, smallest_share)
    if prompt.click is not None and (part := parts[clicked(prompt.click, mask)]) > 0:
        return np.asarray(parts == part, bool)
    return large


def cleaned(mask: Mask, smallest_share: float = SMALLEST_SHARE) -> Mask:
    """The mask opened by the smallest disc, without parts smaller than a share of its largest part, holes filled."""
    _, large = _large_parts(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc(1)), smallest_share)
    return np.asarray(binary_fill_holes(large), bool) if large.any() else mask


def _large_parts(mask: np.ndarray, smallest_share: float) -> tuple[Int[np.ndarray, "height width"], Mask]:
    """The numbers of a mask's connected parts, and those parts of at least a share of the largest one's size."""
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return parts, np.isin(parts, 1 + np.flatnonzero(areas >= smallest_share * areas.max(initial=0)))


def cut_edges(image: Picture, classes: Int[np.ndarray, "height width"]) -> Int[np.ndarray, "height width"]:
    """Carried masks with their edges settled: each entity cut anew from its surroundings, within a band of its edge.

    An entity too small to have a core stays whole. Colour models are learned about the entity only, so that what is far
    away does not matter.
    """
    band, margin = disc(BAND_PX), _MARGIN_BANDS * BAND_PX
    result = classes.copy()
    for number in range(1, int(classes.max()) + 1):
        mask = (classes == number).astype(np.uint8)
        core = cv2.erode(mask, band)
        if core.sum() < _FEWEST_PX:
            continue
        left, top, width, height = cv2.boundingRect(mask)
        window = np.s_[max(top - margin, 0) : top + height + margin, max(left - margin, 0) : left + width + margin]
        near = cv2.dilate(mask, band)
        trimap = np.where(near == 0, cv2.GC_BGD, np.where(mask == 1, cv2.GC_PR_FGD, cv2.GC_PR_BGD)).astype(np.uint8)
        trimap[core == 1] = cv2.GC_FGD
        trimap[(classes > 0) & (classes != number)] = cv2.GC_BGD
        if (trimap[window] == cv2.GC_BGD).any():
            inside = _cut(image[window], trimap[window], _EDGE_ITERATIONS)
            result[window][(classes[window] == number) & ~inside] = 0
            result[window][(classes[window] == 0) & inside] = number
    return result


def disc(radius_px: int) -> UInt8[np.ndarray, "side side"]:
    """A disc that masks are opened, grown or shrunk by."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1)))


def _require_inside(entity: str, prompt: Prompt, width: int, height: int) -> None:
    corners = np.array(prompt.outline or [prompt.click or prompt.box]).reshape(-1, 2)
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    if right < 0 or bottom < 0 or left > width - 1 or top > height - 1:
        raise InputError(
            f"masks.prompts.{entity}: {_shown(prompt)} lies outside the frame of {width}x{height} pixels; give columns "
            "and rows of the extracted frame"
        )


def _shown(prompt: Prompt) -> str:
    if prompt.outline:
        return f"outline {[list(corner) for corner in prompt.outline]}"
    return f"click {list(prompt.click)}" if prompt.click else f"box {list(prompt.box or ())}"


def _trimap(prompt: Prompt, width: int, height: int) -> Trimap:
    """What is sure to be the thing, probably is it, probably not, and surely not, by its mark alone."""
    trimap = np.full((height, width), cv2.GC_BGD, np.uint8)
    if prompt.box is not None:
        left, top, right, bottom = (round(value) for value in prompt.box)
        trimap[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = cv2.GC_PR_FGD
    elif prompt.outline is not None:
        trimap[outlined(prompt.outline, width, height)] = cv2.GC_FGD
    elif prompt.click is not None:
        radius = _CLICK_RADIUS * min(width, height)
        row, column = np.mgrid[0:height, 0:width]
        distance = np.hypot(column - prompt.click[0], row - prompt.click[1])
        trimap[distance < _BEYOND * radius] = cv2.GC_PR_BGD
        trimap[distance < radius] = cv2.GC_PR_FGD
        trimap[distance < _SURE_SHARE * radius] = cv2.GC_FGD
    return trimap


def _in_front(trimaps: Mapping[Entity, Trimap]) -> set[Entity]:
    """The entities whose mark lies mostly in a larger one, as a hand's before what it holds: they are cut first.

    The larger mark's colours, learned with the smaller thing in it, would take all of it.
    """
    marked = {entity: trimap != cv2.GC_BGD for entity, trimap in trimaps.items()}
    return {
        entity
        for entity, own in marked.items()
        if any(
            own.sum() < mask.sum() and (own & mask).sum() > _INSIDE_SHARE * own.sum()
            for other, mask in marked.items()
            if other != entity
        )
    }


def _middle(trimap: Trimap) -> Mask:
    """The inner part of a box, for a thing that GrabCut loses without a pixel known to be of it."""
    rows, columns = np.nonzero(trimap == cv2.GC_PR_FGD)
    if not len(rows):
        return np.zeros(trimap.shape, bool)
    row, column = np.mgrid[0 : trimap.shape[0], 0 : trimap.shape[1]]
    down = (row - (rows.min() + rows.max()) / 2) / max(np.ptp(rows), 1)
    across = (column - (columns.min() + columns.max()) / 2) / max(np.ptp(columns), 1)
    return np.asarray((np.hypot(down, across) < _MIDDLE_SHARE) & (trimap == cv2.GC_PR_FGD), bool)


def _doubting(trimap: Trimap, taken: Mask) -> Trimap:
    """The trimap where what others have taken is probably not the thing."""
    return np.where(taken & (trimap == cv2.GC_PR_FGD), cv2.GC_PR_BGD, trimap).astype(np.uint8)


def _cut(image: Picture, trimap: Trimap, iterations: int) -> Mask:
    """GrabCut's foreground; nothing where nothing may be it.

    Its colour models start at random, from OpenCV's own generator.
    """
    cut = trimap.copy()
    if np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD)).any():
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))  # as OpenCV wants them, of background and foreground
        cv2.grabCut(np.ascontiguousarray(image), cut, (0, 0, 1, 1), *models, iterations, cv2.GC_INIT_WITH_MASK)
    return np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD))
