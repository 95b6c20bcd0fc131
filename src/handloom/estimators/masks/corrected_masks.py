"""Masks once more, by what later stages know: the object's poses say where it is, the found hand where the hand is.

The classes are those of the first pass, whose prior flow carried from frame to frame, leaks and all. Here the prior is
where the voted shape and the hand's key points allow an entity, and the appearances are learned from all frames at
once, from what both agree on. Before a still camera the background is each pixel's median over the frames in which
nothing stands before it. What is cut too small costs more than what leaks, so evidence against the object counts less
where all frames vote for it.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float

from handloom.datasets.frames import median_picture, read_frames
from handloom.datasets.masks import BACKGROUND, LABEL_OF, OBJECT, Labels, LabelSequence, read_masks
from handloom.estimators.hands.found import FoundHands
from handloom.estimators.masks.appearance import (
    AppearanceModel,
    PixelFeatures,
    StillBackground,
    Video,
    still_background,
)
from handloom.estimators.masks.grabcut import BAND_PX, cleaned, disc
from handloom.estimators.masks.propagation import guided_filter
from handloom.estimators.masks.sequence_masks import write_sequence_masks
from handloom.estimators.masks.voted_shape import AGREED_SHARE, SURE_SHARE, VotedShape
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.hand.joints import SNAP_BONES
from handloom.runtime.images import read_rgb

_ROUNDS = 2
"""Each votes with the masks of the round before, whose leaks no longer vote."""
_PRIOR_OF_SHARE = ((0.5, 0.001), (0.8, 0.1), (0.9, 0.4), (SURE_SHARE, 0.9), (1.0, 0.995))
"""How likely a pixel shows the object, by the share of frames that vote for it."""
_PALM_BONES = ((5, 9), (9, 13), (13, 17))
_HAND_REACH, _HAND_SOFTNESS = 0.15, 0.03
"""How far a hand's mask reaches from its bones, of the extent of its key points; the forearm lies beyond."""
_LEAST_PRIOR = 1e-3
_TEMPER = 0.8
"""Power of the appearances' densities: neighbouring pixels are no independent witnesses."""
_COVERED_SHARE, _COVERED_MARGIN_PX = 0.8, 9
"""Of the votes, where something may stand before the background, and how far its shadow and blur reach."""
_EDGE_PX = 2
_MARGIN_PX = 12
_SAMPLED_FRAMES = 32
_FEWEST_SEEN = 4
"""Frames that must show a pixel uncovered before its background is known."""


def corrected_masks(
    frames: Path,
    frames_json: Path,
    masks: Path,
    object_poses: Path,
    hand_estimates: Path,
    corrected: Path,
    picture: Path,
    *,
    still_camera: bool,
) -> None:
    """Stage: the masks of a first pass, corrected; raises InputError for files that do not fit together."""
    taken = read_frames(frames, frames_json)
    labels, poses, hands = (
        read_masks(masks, taken),
        ObjectPoses.load(object_poses),
        FoundHands.load_each(hand_estimates),
    )
    video = np.stack([read_rgb(path) for path in taken.pictures])
    better = correct(video, labels, poses, list(hands.values()), still_camera=still_camera)
    write_sequence_masks(better, taken, corrected, picture, hands=list(hands))


def correct(
    video: Video, labels: LabelSequence, poses: ObjectPoses, hands: Sequence[FoundHands], *, still_camera: bool = True
) -> LabelSequence:
    """The label images with object and followed hands decided anew; another hand stays as it is.

    Where masks and poses do not fit at all they are left alone, and it is said.
    """
    features = PixelFeatures.of(video)
    # Without colours a shadow looks like a darker thing.
    still = still_camera and features.coloured and still_background(video) is not None
    given = labels
    for _ in range(_ROUNDS):
        shape = VotedShape.of(labels, poses)
        if shape is None:
            print("masks: the object's masks and its poses do not fit; the masks are left as they are", file=sys.stderr)
            return given
        labels = _Evidence.of(video, labels, shape, hands, features, still=still).classified()
    return labels


def hand_reach(hands: FoundHands, frame: int, height: int, width: int) -> Float[np.ndarray, "height width"] | None:
    """How far a pixel may belong to the found hand, 0 to 1, by its distance to the key points' bones; None without."""
    if not hands.found[frame]:
        return None
    points = hands.keypoints_px[frame]
    away = np.full((height, width), 255, np.uint8)
    for first, second in (*SNAP_BONES, *_PALM_BONES):
        ends = [tuple(points[joint].clip(-1e4, 1e4).round().astype(int).tolist()) for joint in (first, second)]
        cv2.line(away, ends[0], ends[1], 0)
    extent = max(float(np.linalg.norm(np.ptp(points, axis=0))), 1.0)
    distance = cv2.distanceTransform(away, cv2.DIST_L2, 3) / extent
    return np.asarray(1 / (1 + np.exp(((distance - _HAND_REACH) / _HAND_SOFTNESS).clip(-30, 30))))


@dataclass(frozen=True)
class _Evidence:
    """What one round decides by."""

    video: Video
    labels: LabelSequence
    shape: VotedShape
    hands: Sequence[FoundHands]
    features: PixelFeatures
    models: Sequence[AppearanceModel]
    """Of background, object and each hand."""
    background: StillBackground | None

    @property
    def values(self) -> tuple[int, ...]:
        """The labels of background, object and followed hands."""
        return BACKGROUND, OBJECT, *(LABEL_OF[each.side] for each in self.hands)

    @classmethod
    def of(
        cls,
        video: Video,
        labels: LabelSequence,
        shape: VotedShape,
        hands: Sequence[FoundHands],
        features: PixelFeatures,
        *,
        still: bool,
    ) -> "_Evidence":
        """Appearances learned from what masks, votes and key points agree on, in frames spread evenly."""
        chosen = np.unique(np.linspace(0, len(video) - 1, _SAMPLED_FRAMES).astype(int)).tolist()
        shares = {frame: shape.shares(frame, *labels.shape[1:]) for frame in chosen}
        covered = np.stack([_covered(labels[frame], shares[frame]) for frame in chosen])
        background = _uncovered(video[chosen], ~covered) if still else None
        models = [AppearanceModel() for _ in range(2 + len(hands))]
        for frame, near in zip(chosen, covered, strict=True):
            image, label = video[frame], labels[frame]
            moves = np.ones(label.shape, bool) if background is None else ~background.shows(image)
            sure_object = (label == OBJECT) & moves
            if shape.poses.posed[frame]:
                sure_object &= shares[frame] >= AGREED_SHARE
            sure_hands = []
            for each in hands:
                hand = hand_reach(each, frame, *label.shape)
                sure = (label == LABEL_OF[each.side]) & moves & (hand > 0.5 if hand is not None else False)
                sure_hands.append(sure)
            pixels = features(image)
            for model, where in zip(models, (~near & (label == BACKGROUND), sure_object, *sure_hands), strict=True):
                model.learn(pixels, _core(where), marked=True)
        return cls(video, labels, shape, hands, features, models, background)

    def classified(self) -> LabelSequence:
        """Each frame's classes of largest smoothed posterior."""
        return np.stack([self._frame(number) for number in range(len(self.labels))])

    def _frame(self, number: int) -> Labels:
        label, image = self.labels[number], self.video[number]
        shares = self.shape.shares(number, *label.shape) if self.shape.poses.posed[number] else None
        prior = self._prior(number, shares)
        window = _window(prior[..., 1:].max(-1) > 2 * _LEAST_PRIOR)
        part, prior = image[window], prior[window]
        pixels = self.features(part)
        behind, thing, *hands = self.models
        if shares is not None:
            # A side that few frames show is rare in all frames' appearance.
            sure = _core((label == OBJECT) & (shares >= SURE_SHARE))
            thing = thing.with_recent(pixels, sure[window])
        densities = np.stack([model.density(pixels) for model in (behind, thing, *hands)], -1)
        if self.background is not None:
            still = StillBackground(self.background.colour[window], self.background.share[window])
            densities[..., 0] = still.trust * still.likelihood(part) + (1 - still.trust) * densities[..., 0]
        posterior = prior * densities**_TEMPER
        posterior /= posterior.sum(-1, keepdims=True)
        grey = cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2GRAY) / np.float32(255)
        winner = guided_filter(grey, posterior, radius_px=BAND_PX).argmax(-1)
        # Where no prior reaches there is none, however little a pixel looks like a background that is hardly known.
        winner[np.take_along_axis(prior, winner[..., None], -1)[..., 0] <= 2 * _LEAST_PRIOR] = 0
        if shares is not None:
            winner[(winner == 1) & ~_parts_with(winner == 1, shares[window] >= SURE_SHARE)] = 0
        decided = np.full(winner.shape, BACKGROUND, label.dtype)
        for number_of, value in list(enumerate(self.values))[1:]:
            decided[cleaned(winner == number_of) & ((winner == number_of) | (winner == 0))] = value
        result = np.where(np.isin(label, self.values), BACKGROUND, label)
        free = result[window] == BACKGROUND
        result[window][free] = decided[free]
        return np.asarray(result, label.dtype)

    def _prior(
        self, number: int, shares: Float[np.ndarray, "height width"] | None
    ) -> Float[np.ndarray, "height width classes"]:
        """Of background, object and hands, by votes and key points; by the masks alone where there are none."""
        label = self.labels[number]
        hand_priors = []
        for each in self.hands:
            hand = hand_reach(each, number, *label.shape)
            was_hand = cv2.GaussianBlur((label == LABEL_OF[each.side]).astype(np.float32), (0, 0), 3)
            prior = was_hand if hand is None else (0.7 * was_hand + 0.3 * (hand > 0.5)) * np.clip(2 * hand, 0, 1)
            hand_priors.append(prior.clip(_LEAST_PRIOR, 0.95))
        if shares is None:
            object_prior = (label == OBJECT).astype(np.float32)
        else:
            object_prior = np.interp(shares, *np.array(_PRIOR_OF_SHARE).T).astype(np.float32)
        object_prior = cv2.GaussianBlur(object_prior, (0, 0), 1.5)
        no_hand = np.prod([1 - each for each in hand_priors], axis=0)
        thing = object_prior * np.prod([1 - 0.6 * each for each in hand_priors], axis=0)
        hands = [each * (1 - 0.3 * object_prior) * no_hand / (1 - each) for each in hand_priors]
        return np.asarray(np.maximum(np.stack([(1 - object_prior) * no_hand, thing, *hands], -1), _LEAST_PRIOR))


def _covered(label: Labels, shares: Float[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Where something may stand before the background."""
    return cv2.dilate(
        ((shares > _COVERED_SHARE) | ((label > BACKGROUND) & (label != OBJECT))).astype(np.uint8),
        disc(_COVERED_MARGIN_PX),
    ).astype(bool)


def _uncovered(frames: Video, free: Bool[np.ndarray, "frames height width"]) -> StillBackground:
    """Each pixel's median colour over the frames in which nothing stands before it; no trust where those are few."""
    known = free.sum(0) >= _FEWEST_SEEN
    return StillBackground(median_picture(frames, free).astype(np.float32), known.astype(np.float32))


def _parts_with(
    mask: Bool[np.ndarray, "height width"], sure: Bool[np.ndarray, "height width"]
) -> Bool[np.ndarray, "height width"]:
    """The connected parts of a mask that hold a sure pixel; all of it where none does."""
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    held = np.unique(parts[mask & sure])
    return np.isin(parts, held) if len(held) else mask


def _core(where: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Without the pixels at the edge, which show a mixture."""
    return cv2.erode(where.astype(np.uint8), disc(_EDGE_PX)).astype(bool)


def _window(where: Bool[np.ndarray, "height width"]) -> tuple[slice, slice]:
    """The box about what may be decided, with a margin for the filters; the whole picture where that is nothing."""
    if not where.any():
        return np.s_[:, :]
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    return (
        slice(max(rows[0] - _MARGIN_PX, 0), rows[-1] + _MARGIN_PX + 1),
        slice(max(columns[0] - _MARGIN_PX, 0), columns[-1] + _MARGIN_PX + 1),
    )
