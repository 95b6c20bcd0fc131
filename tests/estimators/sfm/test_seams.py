"""Seams of models: a part that is mirrored in its plane's tilt is found, a right model is left whole."""

import numpy as np
from scipy.spatial.transform import Rotation

from handloom.estimators.sfm.matches import Matches
from handloom.estimators.sfm.seams import advice_for, cuts_of, in_words, links_of, parts_of, without_weak_ends

K = np.array([[600.0, 0, 319.5], [0, 600.0, 239.5], [0, 0, 1]])
FRAMES, TEAR = 24, 13
AREAS = np.where(np.arange(FRAMES) == TEAR, 500, 1000)


def turning() -> np.ndarray:
    """A box before the camera that turns by 6 degrees a frame."""
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(np.outer(np.arange(FRAMES), np.radians([1, 6, 0.5]))).as_matrix()
    poses[:, :3, 3] = [0.02, 0.01, 0.6]
    return poses


def seen(poses: np.ndarray) -> tuple[Matches, np.ndarray, np.ndarray]:
    """Spots of a box that each frame's camera sees, to 0.3 px, matches up to 3 frames apart, and the box's points."""
    generator = np.random.default_rng(0)
    points = generator.uniform(-0.05, 0.05, (900, 3))
    side = generator.integers(0, 3, len(points))
    points[np.arange(len(points)), side] = 0.05 * generator.choice([-1, 1], len(points))
    normals = np.zeros_like(points)
    normals[np.arange(len(points)), side] = np.sign(points[np.arange(len(points)), side])
    pixels, rows = [], []
    for pose in poses:
        cam = points @ pose[:3, :3].T + pose[:3, 3]
        visible = np.flatnonzero(((normals @ pose[:3, :3].T) * cam).sum(1) < 0)
        image = cam[visible] @ K.T
        pixels.append(image[:, :2] / image[:, 2:] + generator.normal(0, 0.3, (len(visible), 2)))
        rows.append(visible)
    matched = {}
    for first in range(len(poses)):
        for second in range(first + 1, min(first + 4, len(poses))):
            _, one, other = np.intersect1d(rows[first], rows[second], return_indices=True)
            matched[first, second] = np.stack([one, other], 1)
    observations = np.concatenate([np.stack([np.full(len(row), frame), row], 1) for frame, row in enumerate(rows)])
    return Matches.of_frames(pixels, matched), observations, points


def judged(poses: np.ndarray, matches: Matches, observations: np.ndarray) -> tuple[np.ndarray, tuple]:
    every = np.ones(len(poses), bool)
    links = links_of(matches, observations, poses, every, K, np.arange(len(poses), dtype=float))
    part = parts_of(links, every)
    points = seen(turning())[2]
    # The face that the second part sees again is flat.
    return part, cuts_of(links, part, np.concatenate([points, points * [1, 1, 0]]), np.full(len(poses), 90), AREAS)


def test_a_right_model_is_one_part() -> None:
    part, cuts = judged(turning(), *seen(turning())[:2])
    assert part.tolist() == [0] * FRAMES
    assert cuts == ()


def test_a_part_with_the_other_tilt_is_cut_off() -> None:
    """A face alone in view leaves two tilts open: the frames behind it turn the other way, right by themselves.

    The epipolar lines are the same for both; but mappers keep no points that both parts see.
    """
    matches, observations, _ = seen(turning())
    torn = turning()
    last = torn[TEAR - 1, :3, :3]
    mirror = np.diag([1.0, 1.0, -1.0])
    torn[TEAR:, :3, :3] = last @ mirror @ (last.T @ torn[TEAR:, :3, :3]) @ mirror
    observations[observations[:, 0] >= TEAR, 1] += 900
    part, cuts = judged(torn, matches, observations)
    assert part.tolist() == [0] * TEAR + [1] * (FRAMES - TEAR)
    assert [(cut.before, cut.after) for cut in cuts] == [(TEAR - 1, TEAR)]


def test_parts_that_share_no_points_are_cut_apart_once() -> None:
    """Near the cut no point is seen twice on either side; that is no reason to cut on."""
    matches, observations, _ = seen(turning())
    observations[observations[:, 0] >= TEAR, 1] += 900
    part, _ = judged(turning(), matches, observations)
    assert part.tolist() == [0] * TEAR + [1] * (FRAMES - TEAR)


def test_one_wrong_frame_is_left_out_and_cuts_nothing() -> None:
    matches, observations, _ = seen(turning())
    poses = turning()
    poses[9, :3, :3] = Rotation.from_rotvec([0, 0, 2.0]).as_matrix() @ poses[9, :3, :3]
    part, cuts = judged(poses, matches, observations)
    assert np.flatnonzero(part < 0).tolist() == [9]
    assert len(set(part[part >= 0])) == 1
    assert cuts == ()


def test_a_cut_names_its_frames_what_is_seen_and_what_helps() -> None:
    matches, observations, _ = seen(turning())
    observations[observations[:, 0] >= TEAR, 1] += 900
    _, cut = judged(turning(), matches, observations)
    assert in_words(cut[0], [f"{row:04d}.png" for row in range(FRAMES)]) == (
        "0012.png | 0013.png (one flat face in view, 90 features, 50 % of its usual area in view)"
    )
    assert "two sides" in advice_for(cut)
    assert "sticker" in advice_for(cut)
    assert "a grip that hides less" in advice_for(cut)


def test_ends_that_skipped_pictures_alone_hold_up_are_left_out() -> None:
    """Pictures taken in about a cut see points with the frame beside it; all of them may be wrong together."""
    matches, observations, _ = seen(turning())
    position = np.r_[np.arange(20.0), 20.25, 20.5, 20.75, 21.0]
    own = np.arange(FRAMES) < 20
    observations[~own[observations[:, 0]], 1] += 900
    every = np.ones(FRAMES, bool)
    kept = without_weak_ends(links_of(matches, observations, turning(), every, K, position), every)
    assert kept.tolist() == own.tolist()
