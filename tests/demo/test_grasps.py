"""Objects are really in the hand, and hands do not run through each other."""

import numpy as np

from handloom.demo.grasps import closed_fingers, grasp, random_object
from handloom.demo.people import SHAPES, pose_right_hand, random_person, smooth_noise
from handloom.demo.recording import record


def test_closing_brings_all_fingertips_to_the_palm() -> None:
    _, keypoints = pose_right_hand(closed_fingers(np.array([[0.0] * 5, [1.0] * 5])), np.zeros(SHAPES))
    palm = keypoints[:, [0, 5, 9, 13, 17]].mean(1, keepdims=True)
    reach = np.linalg.norm(keypoints[:, [8, 12, 16, 20]] - palm, axis=-1)
    assert (reach[1] < 0.75 * reach[0]).all()


def test_fingers_touch_the_object_and_sink_in_little() -> None:
    touching, deepest = 0, []
    for seed in range(12):
        generator = np.random.default_rng(seed)
        thing = random_object(generator)
        chosen = grasp(generator, thing, np.zeros(SHAPES))
        vertices, _ = pose_right_hand(closed_fingers(chosen.closing[None]), np.zeros(SHAPES))
        distance = thing.distance_m((vertices[0] - chosen.centre_m) @ chosen.wrist_from_object)
        touching += distance.min() < 0.004
        deepest.append(-distance.min())
    assert touching >= 11
    assert np.median(deepest) < 0.012


def test_hands_of_a_recording_keep_their_distance_and_their_side() -> None:
    generator = np.random.default_rng(4)
    recording = record(generator, 30, random_person(generator))
    right, left = recording.hands
    assert not right.is_left
    assert left.is_left
    gap = np.linalg.norm(right.keypoints_m[:, :, None] - left.keypoints_m[:, None], axis=-1).min((1, 2))
    assert np.quantile(gap, 0.1) > 0.015
    assert (right.keypoints_m[:, 0, 0] > left.keypoints_m[:, 0, 0]).mean() > 0.9


def test_left_hand_is_the_mirror_image_of_a_right_hand() -> None:
    """Thumb's side x fingers' direction points out of a right hand's palm and out of a left hand's back."""
    generator = np.random.default_rng(6)
    recording = record(generator, 10, random_person(generator))
    for hand, sign in zip(recording.hands, (-1, 1), strict=True):
        keypoints = hand.keypoints_m
        fingers = keypoints[:, 9] - keypoints[:, 0]
        across = keypoints[:, 5] - keypoints[:, 17]  # towards the thumb's side
        dorsal = sign * np.cross(across, fingers)
        # Fingers curl away from the back of the hand.
        tips = keypoints[:, [8, 12, 16, 20]].mean(1) - keypoints[:, [5, 9, 13, 17]].mean(1)
        assert ((tips * dorsal).sum(-1) < 0).mean() > 0.8


def test_smooth_noise_has_unit_variance_and_moves_between_frames() -> None:
    noise = smooth_noise(np.random.default_rng(0), 2000, 4)
    assert abs(noise.std() - 1) < 0.1
    neighbours = np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1]
    assert 0.5 < neighbours < 0.95
