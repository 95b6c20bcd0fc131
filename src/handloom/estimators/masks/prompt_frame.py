"""The marked frame, cut into entities by GrabCut from one click, box or outline each."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from handloom.datasets.mask_labels import Entity
from handloom.estimators.masks.cleaning import cleaned
from handloom.runtime.config.masks import Prompt, PropagationSettings
from handloom.runtime.errors import InputError

_SURE_SHARE = 0.2
_MIDDLE_SHARE = 0.2
_BEYOND = 2.5
_ROUNDS = 2

Mask = Bool[np.ndarray, "height width"]


def cut_prompts(
    image: UInt8[np.ndarray, "height width 3"],
    prompts: Mapping[Entity, Prompt],
    settings: PropagationSettings,
    behind: Mask | None = None,
    ahead: Mask | None = None,
) -> dict[Entity, Mask]:
    """Masks of all entities that do not overlap: GrabCut per entity, in two rounds so that each knows the others.

    What an outline encloses is taken as it is. `behind` marks pixels that are background for sure, `ahead` those that
    are not.

    Raises InputError for a mark outside the image and for one that leaves nothing. The random start of GrabCut's colour
    models is OpenCV's own, which is seeded here.
    """
    height, width = image.shape[:2]
    for entity, prompt in prompts.items():
        _require_inside(entity, prompt, width, height)
    trimaps = {entity: _trimap(prompt, width, height, settings) for entity, prompt in prompts.items()}
    if behind is not None:
        for entity, trimap in trimaps.items():
            trimap[behind & (prompts[entity].outline is None)] = cv2.GC_BGD
    outlines = {entity: sure for entity, sure in trimaps.items() if prompts[entity].outline is not None}
    for entity, trimap in trimaps.items():
        for other, outline in outlines.items():
            trimap[(outline == cv2.GC_FGD) & (other != entity) & (entity not in outlines)] = cv2.GC_BGD
    if ahead is not None:
        regions = np.stack([trimap != cv2.GC_BGD for trimap in trimaps.values()])
        for trimap in trimaps.values():
            trimap[ahead & (regions.sum(0) == 1) & (trimap == cv2.GC_PR_FGD)] = cv2.GC_FGD
    sure = {entity: trimap == cv2.GC_FGD for entity, trimap in trimaps.items()}
    masks: dict[Entity, Mask] = {}
    for _ in range(_ROUNDS):
        for entity, trimap in trimaps.items():
            if prompts[entity].outline is not None:
                masks[entity] = sure[entity] & ~np.any([masks[other] for other in masks if other != entity], axis=0)
                continue
            others = [masks.get(other, sure[other]) for other in trimaps if other != entity]
            mask = _cut(image, _without(trimap, sure[entity], others), settings.iterations + 2)
            if not mask.any():
                with_middle = np.where(_middle(trimap), cv2.GC_FGD, trimap).astype(np.uint8)
                mask = _cut(image, _without(with_middle, sure[entity], others), settings.iterations + 2)
            near = cleaned(mask, smallest_share=0.0)
            masks[entity] = part_of_prompt(near, prompts[entity])
    for entity, mask in masks.items():
        if not mask.any():
            raise InputError(
                f"masks.prompts.{entity}: the mark {_shown(prompts[entity])} leaves nothing after GrabCut; mark "
                "another spot or frame, or use a box or an outline"
            )
    return masks


def region(prompt: Prompt, width: int, height: int, settings: PropagationSettings) -> Mask:
    """Where the marked thing may be: the box, or a disc about the click."""
    return np.asarray(_trimap(prompt, width, height, settings) != cv2.GC_BGD, bool)


def outlined(outline: Sequence[tuple[float, float]], width: int, height: int) -> Mask:
    """The pixels that a polygon of columns and rows encloses."""
    corners = np.round(np.array(outline)).astype(np.int32)
    return np.asarray(cv2.fillPoly(np.zeros((height, width), np.uint8), [corners], 1), bool)


def _require_inside(entity: str, prompt: Prompt, width: int, height: int) -> None:
    corners = np.array(prompt.outline or [prompt.click or prompt.box]).reshape(-1, 2)
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    inside = right >= 0 and bottom >= 0 and left <= width - 1 and top <= height - 1
    if not inside:
        raise InputError(
            f"masks.prompts.{entity}: {_shown(prompt)} lies outside the frame of {width}x{height} pixels; give columns "
            "and rows of the extracted frame"
        )


def _shown(prompt: Prompt) -> str:
    if prompt.outline:
        return f"outline {[list(corner) for corner in prompt.outline]}"
    return f"click {list(prompt.click)}" if prompt.click else f"box {list(prompt.box or ())}"


def _trimap(prompt: Prompt, width: int, height: int, settings: PropagationSettings) -> UInt8[np.ndarray, "h w"]:
    trimap = np.full((height, width), cv2.GC_BGD, np.uint8)
    if prompt.box is not None:
        left, top, right, bottom = (round(value) for value in prompt.box)
        trimap[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = cv2.GC_PR_FGD
        return trimap
    if prompt.outline is not None:
        trimap[outlined(prompt.outline, width, height)] = cv2.GC_FGD
        return trimap
    assert prompt.click is not None
    radius = settings.click_radius * min(width, height)
    row, column = np.mgrid[0:height, 0:width]
    distance = np.hypot(column - prompt.click[0], row - prompt.click[1])
    trimap[distance < _BEYOND * radius] = cv2.GC_PR_BGD
    trimap[distance < radius] = cv2.GC_PR_FGD
    trimap[distance < _SURE_SHARE * radius] = cv2.GC_FGD
    return trimap


def _middle(trimap: UInt8[np.ndarray, "h w"]) -> Mask:
    """The inner part of a box, for a thing that GrabCut loses without a pixel known to be of it."""
    rows, columns = np.nonzero(trimap == cv2.GC_PR_FGD)
    if not len(rows):
        return np.zeros(trimap.shape, bool)
    row, column = np.mgrid[0 : trimap.shape[0], 0 : trimap.shape[1]]
    down = (row - (rows.min() + rows.max()) / 2) / max(np.ptp(rows), 1)
    across = (column - (columns.min() + columns.max()) / 2) / max(np.ptp(columns), 1)
    return np.asarray((np.hypot(down, across) < _MIDDLE_SHARE) & (trimap == cv2.GC_PR_FGD), bool)


def _without(trimap: UInt8[np.ndarray, "h w"], sure: Mask, others: list[Mask]) -> UInt8[np.ndarray, "h w"]:
    taken = np.any(others, axis=0) if others else np.zeros_like(sure)
    result = trimap.copy()
    result[taken & ~sure & (trimap == cv2.GC_PR_FGD)] = cv2.GC_PR_BGD
    return result


def _cut(image: UInt8[np.ndarray, "h w 3"], trimap: UInt8[np.ndarray, "h w"], iterations: int) -> Mask:
    if not ((trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)).any():
        return np.zeros(trimap.shape, bool)
    cv2.setRNGSeed(0)
    result = trimap.copy()
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, result, (0, 0, 1, 1), background, foreground, iterations, cv2.GC_INIT_WITH_MASK)
    return np.asarray((result == cv2.GC_FGD) | (result == cv2.GC_PR_FGD), bool)


def part_of_prompt(mask: Mask, prompt: Prompt, smallest_share: float = 1.0) -> Mask:
    """The connected part under the click, or the largest of a box and those of at least a share of its size."""
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return mask
    if prompt.click is not None:
        column, row = (min(round(value), size - 1) for value, size in zip(prompt.click, mask.shape[::-1], strict=True))
        if parts[row, column] > 0:
            return np.asarray(parts == parts[row, column], bool)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return np.isin(parts, 1 + np.flatnonzero(areas >= smallest_share * areas.max()))
