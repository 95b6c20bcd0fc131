"""Plane-sweep stereo between frames whose object poses are known: depths of what the object's masks show.

A window of the reference frame is shifted along its rays, with the start surface that it lies on, and compared with
sources that see the object from the sides: normalised cross-correlation of grey values, of the better half of the
sources, since the rest may be hidden (Gallup et al., CVPR 2007). What has a second peak, or no other frame that finds
the same place, is left out. Lengths are in cells.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from handloom.geometry.camera import project
from handloom.reconstruction.observations import OBJECT
from handloom.reconstruction.shape.cube_views import Box, CubeViews

_WINDOW = 7
_ASIDE_DEG, _ASIDE_WITHIN_DEG = (6.0, 14.0), 4.0
"""Sources look from about so far aside, one to each side."""
_FEWEST_PIXELS = 100
_LEAST_VARIANCE = 4.0
"""Of grey values: less is noise."""
_PEAK_STEPS = 3
"""Offsets nearer than so many steps belong to one peak."""
_AGREE_CELLS, _AGREE_DEG = 0.5, 30.0
"""Two frames this near to each other confirm a depth when theirs is as near."""
_FAR_SIDE_QUANTILE = 0.98


@dataclass(frozen=True)
class Sweep:
    """Which frames are swept, and how."""

    references: int
    """So many frames, evenly spaced."""
    object_px: int
    """Of the object's longer side: pictures are made so small."""
    step: float
    before: float
    after: float | None
    """From so far before the start surface to so far behind it; None: to its far side."""
    least_correlation: float
    margin: float
    """By how much the best peak must be better than the second one."""


COARSE = Sweep(15, 160, 0.55, 1.5, None, 0.6, 0.03)
FINE = Sweep(20, 220, 0.275, 2.2, 3.6, 0.5, 0.02)


@dataclass(frozen=True)
class DepthMap:
    """Depths of a frame's box, NaN where unknown, and how well they correlate."""

    frame: int
    box: Box
    depth: Float[Tensor, "rows columns"]
    correlation: Float[Tensor, "rows columns"]


def swept(views: CubeViews, start: Float[Tensor, "1 cells cells cells"], sweep: Sweep) -> tuple[list[DepthMap], float]:
    """Confirmed depth maps, and the share of the object's pixels that has a depth in them.

    A video whose object stands still, or without texture, gives none.
    """
    usable = ((views.kind == OBJECT).flatten(1).sum(1) >= _FEWEST_PIXELS).nonzero()[:, 0].tolist()
    count = min(sweep.references, len(usable))
    chosen = [usable[round(place)] for place in torch.linspace(0, len(usable) - 1, count).tolist()] if usable else []
    maps = [found for frame in chosen if (found := depth_map(views, start, frame, sweep)) is not None]
    maps = confirmed(views, maps)
    known = sum(int(found.depth.isfinite().sum()) for found in maps)
    pixels = sum(int((views.kind[frame] == OBJECT).sum()) for frame in chosen)
    return maps, known / max(1, pixels)


def sources_of(views: CubeViews, frame: int) -> list[int]:
    """Frames that see the object from about 6 and 14 degrees aside, one to each side where there is one."""
    directions = views.directions
    angles = torch.rad2deg(torch.acos((directions @ directions[frame]).clamp(-1, 1)))
    chosen: list[int] = []
    for wanted in _ASIDE_DEG:
        off = (angles - wanted).abs()
        order = [at for at in off.argsort().tolist() if off[at] < _ASIDE_WITHIN_DEG and at not in chosen]
        if order:
            side = directions[order[0]] - directions[frame]
            across = [at for at in order[1:] if (directions[at] - directions[frame]) @ side < 0]
            chosen += [order[0], *across[:1]]
    if len(chosen) < 2:
        near = [at for at in angles.argsort().tolist() if 3.0 < angles[at] < 25.0 and at not in chosen]
        chosen += near[: 2 * len(_ASIDE_DEG) - len(chosen)]
    return chosen


def depth_map(
    views: CubeViews, start: Float[Tensor, "1 cells cells cells"], frame: int, sweep: Sweep
) -> DepthMap | None:
    """The best depth of every pixel of the object in a frame, NaN where none is sure; None without sources."""
    box = views.object_box(frame, _WINDOW // 2 + 1)
    enters, leaves = views.trace(start, frame, box)
    mask = views.kind[frame][box.slices] == OBJECT
    sources, known = sources_of(views, frame), enters.isfinite()
    if not sources or int((known & mask).sum()) < _FEWEST_PIXELS:
        return None
    reach = sweep.after
    if reach is None:
        reach = float(torch.quantile((leaves - enters)[known & mask], _FAR_SIDE_QUANTILE))
    surface, far = _filled(enters, known), _filled(leaves, known)
    offsets = torch.arange(-sweep.before, reach + sweep.step, sweep.step, device=surface.device)
    depth = surface + offsets[:, None, None]
    score = correlations(views, frame, sources, box, depth)
    inner = slice(_WINDOW // 2, -(_WINDOW // 2))
    depth, far, mask = depth[:, inner, inner], far[inner, inner], mask[inner, inner]
    score = score.masked_fill(depth > far + sweep.before, -1.0)
    inner_box = Box((box[0] + inner.start, box[1] + inner.start, box[2] + inner.stop, box[3] + inner.stop))
    return DepthMap(frame, inner_box, *_winner(score, depth, mask, sweep))


def correlations(
    views: CubeViews, frame: int, sources: list[int], box: Box, depth: Float[Tensor, "offsets rows columns"]
) -> Float[Tensor, "offsets inner_rows inner_columns"]:
    """The mean of the better half of the sources' correlations; -1 where a source does not show the object."""
    rays, reference = views.rays(box), views.grey[frame][box.slices]
    mean, variance = _moments(reference[None])
    size = torch.tensor(views.grey.shape[:0:-1], device=rays.device)
    best: list[Tensor] = []
    for source in sources:
        turn = views.rotation[source] @ views.rotation[frame].T
        shift = views.translation[source] - turn @ views.translation[frame]
        place = project(depth[..., None] * (rays @ turn.T) + shift, views.intrinsics, 1e-3)
        layers = torch.stack([views.grey[source], (views.kind[source] == OBJECT).float()])
        grid = ((2 * place + 1) / size - 1).view(1, -1, depth.shape[2], 2)
        seen = functional.grid_sample(layers[None], grid, padding_mode="zeros", align_corners=False)
        picture, shown = seen.view(2, *depth.shape)
        other_mean, other_variance = _moments(picture)
        covariance = _windows(reference * picture) - mean * other_mean
        value = covariance * (variance.clamp_min(_LEAST_VARIANCE) * other_variance.clamp_min(_LEAST_VARIANCE)).rsqrt()
        inner = slice(_WINDOW // 2, -(_WINDOW // 2))
        value = value.masked_fill(shown[:, inner, inner] < 0.5, -1.0)
        for rank, kept in enumerate(best):
            best[rank], value = torch.maximum(kept, value), torch.minimum(kept, value)
        if len(best) < max(min(2, len(sources)), len(sources) // 2):
            best.append(value)
    return torch.stack(best).mean(0)


def _windows(values: Float[Tensor, "layers rows columns"]) -> Float[Tensor, "layers inner_rows inner_columns"]:
    """Means over windows of 7 x 7 pixels, by sums of 2, 4 and 7 along each axis."""
    for axis in (1, 2):
        length = values.shape[axis]
        two = values.narrow(axis, 0, length - 1) + values.narrow(axis, 1, length - 1)
        four = two.narrow(axis, 0, length - 3) + two.narrow(axis, 2, length - 3)
        few = length - 6
        values = four.narrow(axis, 0, few) + two.narrow(axis, 4, few) + values.narrow(axis, 6, few)
    return values / _WINDOW**2


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    mean = _windows(values)
    return mean, _windows(values * values) - mean * mean


def _filled(values: Float[Tensor, "rows columns"], known: Tensor) -> Float[Tensor, "rows columns"]:
    """Unknown pixels take over the mean of the known ones around them, ring by ring; all are blurred a little."""
    filled, have = torch.where(known, values, 0.0)[None, None], known.float()[None, None]
    while not bool(have.all()):
        sums, counts = (functional.avg_pool2d(each, 3, 1, 1, count_include_pad=False) for each in (filled * have, have))
        fresh = (have == 0) & (counts > 0)
        filled = torch.where(fresh, sums / counts.clamp_min(1e-6), filled)
        have = torch.where(fresh, 1.0, have)
    return functional.avg_pool2d(filled, 3, 1, 1, count_include_pad=False)[0, 0]


def _winner(score: Tensor, depth: Tensor, mask: Tensor, sweep: Sweep) -> tuple[Tensor, Tensor]:
    """Depth at the highest score, with a parabola through its neighbours; NaN where it is at an end or not alone."""
    count = len(score)
    peak, best = score.max(0)
    at = best.clamp(1, count - 2)
    below, there, above = (score.gather(0, (at + step)[None])[0] for step in (-1, 0, 1))
    bend = 2 * there - below - above
    shift = torch.where(bend > 1e-4, 0.5 * (above - below) / bend.clamp_min(1e-4), 0.0).clamp(-0.5, 0.5)
    number = torch.arange(count, device=score.device)[:, None, None]
    second = score.masked_fill((number - best).abs() <= _PEAK_STEPS, -1.0).amax(0)
    sure = mask & (peak > sweep.least_correlation) & (peak - second > sweep.margin) & (best == at)
    found = depth.gather(0, at[None])[0] + shift * sweep.step
    return torch.where(sure, found, torch.nan), torch.where(sure, peak, 0.0)


def confirmed(views: CubeViews, maps: list[DepthMap]) -> list[DepthMap]:
    """The maps with only those depths whose place another frame, within 30 degrees, has found within half a cell."""
    kept = []
    directions, near = views.directions, torch.cos(torch.deg2rad(torch.tensor(_AGREE_DEG)))
    for one in maps:
        rows, columns = one.depth.isfinite().nonzero().unbind(1)
        depth = one.depth[rows, columns]
        cam = views.rays(one.box)[rows, columns] * depth[:, None]
        points = (cam - views.translation[one.frame]) @ views.rotation[one.frame]
        agreed = torch.zeros_like(depth, dtype=torch.bool)
        for other in maps:
            if other.frame == one.frame or directions[one.frame] @ directions[other.frame] < near:
                continue
            theirs, its = at_points(views, other, points)
            agreed |= (theirs - its).abs() < _AGREE_CELLS
        sure = torch.zeros_like(one.depth, dtype=torch.bool)
        sure[rows[agreed], columns[agreed]] = True
        kept.append(DepthMap(one.frame, one.box, one.depth.masked_fill(~sure, torch.nan), one.correlation * sure))
    return kept


def at_points(
    views: CubeViews, found: DepthMap, points: Float[Tensor, "points 3"]
) -> tuple[Float[Tensor, " points"], Float[Tensor, " points"]]:
    """The map's depths where points of the cube are seen, NaN beside the map, and the points' own depths."""
    cam = views.cams(points, slice(found.frame, found.frame + 1))[0]
    pixel, shown = views.pixels(cam)
    inside, place = placed_in(found.box, pixel)
    return torch.where(shown & inside, found.depth[place[:, 1], place[:, 0]], torch.nan), cam[:, 2]


def placed_in(box: Box, pixel: Tensor) -> tuple[Tensor, Tensor]:
    """Whether pixels (column, row) are in a box, and where in it, clamped."""
    low = torch.tensor(box[:2], device=pixel.device)
    most = torch.tensor([box[2] - box[0] - 1, box[3] - box[1] - 1], device=pixel.device)
    place = pixel - low
    within = place.clamp(torch.zeros_like(most), most)
    return (within == place).all(-1), within
