"""Where a model of structure from motion is torn although nothing says so, found from matches that exist anyway.

Registered frames and reprojection errors are good in wrong models too: each part is right by itself, and only their
seam is not, where one flat face alone was in view. Two signs tell a seam. The link share: of the matches that cross it,
how many lie on the epipolar lines of the final poses. And the points that both of its sides see.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation

from handloom.estimators.sfm.matches import Matches

LEAST_LINK_SHARE = 0.5
"""Of a seam that holds; good ones have 0.84 to 1.00 in the median, torn ones 0.00 to 0.12 (docs/real_video.md)."""
SURE_LINK_SHARE = 0.7
"""Below it a seam that holds is to be looked at."""
LEAST_SHARED_POINTS = 10
# Matches of frames so far apart, in frames of the sequence, tell of the seams between them.
_REACH = 3.0
_LEAST_MATCHES = 8
_ON_LINE_PX = 2.0
# Of the points that the part's frames see in the median.
_WEAK_SHARE = 0.15
# Frames of the sequence that see a point which counts for its ends; pictures taken in about a seam may all be wrong.
_LEAST_WITNESSES = 3
# Between neighbours; more was wrong in every clip that was looked at.
_MOST_TURN_DEG = 60.0
# A part is a surface seen from some sides.
_LEAST_PART = 3
# The points that a frame sees lie on a plane if their least extent is so small a share of their second.
_FLAT_SHARE = 0.06
_NEIGHBOURS = 3
# What is said of a cut: a turn that is fast, features that are few, an object that is hidden, spots that are lost.
_FAST_DEG, _FEW_FEATURES = 8.0, 150
_HIDDEN_SHARE, _LOST_SHARE = 0.7, 0.25


class Signs(NamedTuple):
    """Of each seam between a frame with a pose and the next such one: `after` is that next one's row.

    `turn_deg` is that from one frame of the sequence to the next, or to a picture between the two.
    """

    before: Int[np.ndarray, " seams"]
    after: Int[np.ndarray, " seams"]
    link_share: Float[np.ndarray, " seams"]
    shared_points: Int[np.ndarray, " seams"]
    turn_deg: Float[np.ndarray, " seams"]

    def worst(self) -> int | None:
        """The seam that holds least, if one does not hold: by its matches or its turn, else by its shared points.

        At the ends no point is seen twice on either side: seams there have the first two signs only. Of equals the one
        in the middle is taken: about a tear no points are shared either.
        """
        loose = (self.link_share < LEAST_LINK_SHARE) | (self.turn_deg > _MOST_TURN_DEG)
        if loose.any():
            return _middle(np.where(loose, self.link_share, np.inf))
        shared = self.shared_points[1:-1]
        return 1 + _middle(shared) if len(shared) and shared.min() < LEAST_SHARED_POINTS else None


def _middle(values: np.ndarray) -> int:
    least = np.flatnonzero(values == values.min())
    return int(least[len(least) // 2])


class Tear(NamedTuple):
    """A seam at which a sequence was cut: the frames' rows beside it, its signs, and what is to be seen there."""

    before: int
    after: int
    link_share: float
    shared_points: int
    turn_deg: float
    """Between neighbouring frames about it, in the median."""
    flat: bool
    """Whether the points of the frames about it lie on one plane."""
    features: int
    """On the object, the fewest of the two frames."""
    area_share: float = 1.0
    """Of the object's usual area in the image, the least of the two frames."""
    point_share: float = 1.0
    """Of the points that a frame usually sees, the least of the two frames."""


class Links(NamedTuple):
    """What judges a model: pairs of frames with the share of their matches that agree, and who sees which point."""

    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]
    share: Float[np.ndarray, " pairs"]
    observations: Int[np.ndarray, "observations 2"]
    """Rows (frame, point)."""
    cam_from_object: Float[np.ndarray, "frames 4 4"]
    position: Float[np.ndarray, " frames"]

    def signs(self, kept: Bool[np.ndarray, " frames"]) -> Signs:
        """Link share, shared points and turn at every seam of some frames, as if there were no others.

        A seam has the median share of the pairs that cross it, 0 without any.
        """
        rows = np.flatnonzero(kept)
        order = np.full(len(kept), -1)
        order[rows] = np.arange(len(rows))
        there = kept[self.first] & kept[self.second]
        first, second, share = order[self.first[there]], order[self.second[there]], self.share[there]
        shares = np.zeros(max(len(rows) - 1, 0))
        for seam in range(len(shares)):
            crossing = share[(first <= seam) & (second > seam)]
            shares[seam] = np.median(crossing) if len(crossing) else 0.0
        rotations = self.cam_from_object[rows, :3, :3]
        turn_deg = np.zeros(len(shares))
        if len(shares):
            turn_deg = np.degrees(Rotation.from_matrix(rotations[1:] @ rotations[:-1].swapaxes(1, 2)).magnitude())
            turn_deg = turn_deg / np.maximum(np.diff(self.position[rows]), 1.0)
        shared = _shared_points(order, self.observations, len(shares))
        return Signs(rows[:-1], rows[1:], shares, shared, turn_deg)

    def witnessed(self, kept: Bool[np.ndarray, " frames"]) -> Int[np.ndarray, " frames"]:
        """How many points each frame sees that at least three of the kept ones see, of the sequence's own."""
        seen = np.unique(self.observations, axis=0)
        own = (kept & (self.position % 1 == 0))[seen[:, 0]]
        witnesses = np.bincount(seen[own, 1], minlength=seen[:, 1].max(initial=0) + 1)
        counted = seen[witnesses[seen[:, 1]] >= _LEAST_WITNESSES, 0]
        return np.bincount(counted, minlength=len(self.position))

    def loose(self, part: Int[np.ndarray, " frames"]) -> Bool[np.ndarray, " frames"]:
        """Frames that do not agree with most of those near them in their part."""
        inside = (part[self.first] == part[self.second]) & (part[self.first] >= 0)
        result = part >= 0
        for frame in np.flatnonzero(result):
            own = self.share[inside & ((self.first == frame) | (self.second == frame))]
            result[frame] = not len(own) or np.median(own) < LEAST_LINK_SHARE
        return result


def links_of(
    matches: Matches,
    observations: Int[np.ndarray, "observations 2"],
    cam_from_object: Float[np.ndarray, "frames 4 4"],
    registered: Bool[np.ndarray, " frames"],
    intrinsics: Float[np.ndarray, "3 3"],
    position: Float[np.ndarray, " frames"],
) -> Links:
    """What judges a model; `observations` are rows (frame, point).

    A pair of frames whose positions are at most 3 apart has the share of its matches with a Sampson distance below
    2 px.
    """
    pairs = _pair_shares(matches, cam_from_object, registered, intrinsics, position)
    return Links(*pairs, observations, cam_from_object, position)


def _pair_shares(
    matches: Matches,
    cam_from_object: Float[np.ndarray, "frames 4 4"],
    registered: Bool[np.ndarray, " frames"],
    intrinsics: Float[np.ndarray, "3 3"],
    position: Float[np.ndarray, " frames"],
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"], Float[np.ndarray, " pairs"]]:
    """Pairs of registered frames with matches enough, and each one's share of matches on their epipolar lines.

    d = |y^T E x| / sqrt((E x)_1^2 + (E x)_2^2 + (E^T y)_1^2 + (E^T y)_2^2), with rays x, y of z = 1, times the focal
    length: Sampson's distance (Hartley and Zisserman, Multiple View Geometry, 11.9).
    """
    frames = matches.frame[matches.pairs]
    used = registered[frames].all(1) & (position[frames[:, 1]] - position[frames[:, 0]] <= _REACH)
    frames, spots = frames[used], matches.pairs[used]
    pairs, pair = np.unique(frames, axis=0, return_inverse=True)
    pair = pair.reshape(-1)
    between = cam_from_object[pairs[:, 1]] @ np.linalg.inv(cam_from_object[pairs[:, 0]])
    x, y, z = between[:, :3, 3].T
    none = np.zeros_like(x)
    cross = np.stack([none, -z, y, z, none, -x, -y, x, none], -1).reshape(-1, 3, 3)
    essential = (cross @ between[:, :3, :3])[pair]
    ones = np.ones((len(matches.pixel), 1))
    rays = np.hstack([matches.pixel, ones]) @ np.linalg.inv(intrinsics).T
    start, end = rays[spots[:, 0]], rays[spots[:, 1]]
    line, back = np.einsum("mij,mj->mi", essential, start), np.einsum("mji,mj->mi", essential, end)
    residual = (end * line).sum(1)
    slope = np.sqrt((line[:, :2] ** 2).sum(1) + (back[:, :2] ** 2).sum(1))
    sampson_px = np.abs(residual) / np.maximum(slope, 1e-12) * (intrinsics[0, 0] + intrinsics[1, 1]) / 2
    count = np.bincount(pair, minlength=len(pairs))
    share = np.bincount(pair, sampson_px < _ON_LINE_PX, len(pairs)) / np.maximum(count, 1)
    enough = count >= _LEAST_MATCHES
    return pairs[enough, 0], pairs[enough, 1], share[enough]


def _shared_points(
    order: Int[np.ndarray, " frames"], observations: Int[np.ndarray, "observations 2"], seams: int
) -> Int[np.ndarray, " seams"]:
    """How many points at least two registered frames see on either side of each seam."""
    seen = observations[order[observations[:, 0]] >= 0]
    place, point = order[seen[:, 0]], seen[:, 1]
    pairs = np.unique(np.stack([point, place], 1), axis=0)
    begin = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1))
    end = np.append(begin[1:], len(pairs))
    long = end - begin >= 4
    second, last_but_one = pairs[begin[long] + 1, 1], pairs[end[long] - 2, 1]
    steps = np.bincount(second, minlength=seams + 1)[: seams + 1]
    steps = steps - np.bincount(last_but_one, minlength=seams + 1)[: seams + 1]
    return np.cumsum(steps)[:seams]


def parts_of(links: Links, registered: Bool[np.ndarray, " frames"]) -> Int[np.ndarray, " frames"]:
    """The parts that hold together, numbered along the sequence; -1 for frames of none.

    The worst seam is cut first, and what is left of it judged by itself. Runs of fewer than 3 frames and single frames
    that agree with few near them are left out, and what they kept apart is judged again without them: one wrong frame
    does not cut a video in two.
    """
    kept = registered.copy()
    while True:
        part = np.full(len(kept), -1)
        waiting, count = [np.flatnonzero(kept)], 0
        while waiting:
            rows = waiting.pop()
            worst = links.signs(np.isin(np.arange(len(kept)), rows)).worst()
            if worst is not None:
                waiting += [rows[worst + 1 :], rows[: worst + 1]]
            else:
                part[rows] = count
                count += 1
        sizes = np.bincount(part[kept], minlength=1)
        left = kept & (sizes[part.clip(0)] < _LEAST_PART) | links.loose(part)
        if not left.any():
            return part
        kept &= ~left


def without_weak_ends(links: Links, part: Bool[np.ndarray, " frames"]) -> Bool[np.ndarray, " frames"]:
    """A part without the frames at its ends that see few of its points: nothing beyond them would show them wrong."""
    points, kept = links.witnessed(part), part.copy()
    if kept.any():
        strong = np.flatnonzero(kept & (points >= _WEAK_SHARE * np.median(points[kept])))
        kept[: strong[0]] = kept[strong[-1] + 1 :] = False
    return kept


def cuts_of(
    links: Links,
    part: Int[np.ndarray, " frames"],
    points: Float[np.ndarray, "points 3"],
    features: Int[np.ndarray, " frames"],
    areas: Int[np.ndarray, " frames"],
) -> tuple[Tear, ...]:
    """What is to be seen at each seam between two parts; `areas` are those of the object's masks."""
    signs, seen = links.signs(part >= 0), links.observations
    seen_points = np.bincount(seen[:, 0], minlength=len(part))
    found = []
    for seam in np.flatnonzero(part[signs.before] != part[signs.after]):
        before, after = int(signs.before[seam]), int(signs.after[seam])
        near = slice(max(seam - _NEIGHBOURS, 0), seam + _NEIGHBOURS + 1)
        within = part[signs.before[near]] == part[signs.after[near]]
        turns = (signs.turn_deg / np.minimum(np.diff(links.position[part >= 0]), 1.0))[near][within]
        found.append(
            Tear(
                before,
                after,
                round(float(signs.link_share[seam]), 3),
                int(signs.shared_points[seam]),
                round(float(np.median(turns)), 1) if len(turns) else 0.0,
                any(_flat(points[seen[seen[:, 0] == frame, 1]]) for frame in (before, after)),
                int(min(features[before], features[after])),
                *(
                    round(float(min(each[before], each[after]) / max(np.median(each[part >= 0]), 1)), 3)
                    for each in (areas, seen_points)
                ),
            )
        )
    return tuple(found)


def _flat(points: Float[np.ndarray, "points 3"]) -> bool:
    """Whether points, the farthest tenth left out, lie on a plane."""
    if len(points) < _LEAST_MATCHES:
        return False
    distance = np.linalg.norm(points - np.median(points, 0), axis=1)
    near = points[distance <= np.quantile(distance, 0.9)]
    extents = np.linalg.svd(near - near.mean(0), compute_uv=False)
    return bool(extents[2] < _FLAT_SHARE * extents[1])


def in_words(cut: Tear, names: Sequence[str]) -> str:
    """Where a sequence was cut, what is to be seen there, and what helps."""
    reasons = [
        *(["one flat face in view"] if cut.flat else []),
        *([f"{cut.turn_deg:.0f} degrees a frame"] if cut.turn_deg >= _FAST_DEG else []),
        *([f"{cut.features} features"] if cut.features < _FEW_FEATURES else []),
        *([f"{100 * cut.area_share:.0f} % of its usual area in view"] if cut.area_share < _HIDDEN_SHARE else []),
        *([f"{100 * cut.point_share:.0f} % of the usual spots found again"] if cut.point_share < _LOST_SHARE else []),
    ]
    seen = ", ".join(reasons) or f"{100 * cut.link_share:.0f} % of the matches agree"
    return f"{names[cut.before]} | {names[cut.after]} ({seen})"


def advice_for(cuts: Sequence[Tear]) -> str:
    """What helps against cuts like these."""
    ways = [
        *(["turn the object more slowly, or lower `every`"] if any(cut.turn_deg >= _FAST_DEG for cut in cuts) else []),
        *(["show two sides at a time while it turns"] if any(cut.flat for cut in cuts) else []),
        *(["a textured sticker on plain sides"] if any(cut.features < _FEW_FEATURES for cut in cuts) else []),
        *(["a grip that hides less of it"] if any(cut.area_share < _HIDDEN_SHARE for cut in cuts) else []),
        *(["sharper pictures from closer by"] if any(cut.point_share < _LOST_SHARE for cut in cuts) else []),
    ]
    return ", ".join(ways) or "film slower turns, sharper and from closer by"
