"""What training data vary: people within a sequence, and hands turned by chance."""

from pathlib import Path

import numpy as np

from handloom.demo.headsets import RenderedSequence, render_assembly_sequence
from handloom.demo.people import random_person
from handloom.demo.plan import assembly_sequences
from handloom.demo.recording import record
from handloom.hand.joints import SNAP_FROM_ASSEMBLY_HANDS
from handloom.runtime.config.sources import DemoSettings
from handloom.runtime.seeds import numpy_generator


def palms_up(turned: float) -> float:
    """Share of right palms that face up, towards the head, over a few people."""
    up = []
    for person in range(12):
        stream = numpy_generator(5, "palms", person)
        joints = record(stream, 2, random_person(stream), turned).hands[0].keypoints_m
        index, pinky = joints[:, 5] - joints[:, 0], joints[:, 17] - joints[:, 0]
        up.append((np.cross(index, pinky)[:, 2] > 0).mean())
    return float(np.mean(up))


def test_palms_face_the_head_oftener_when_turned_by_chance() -> None:
    assert palms_up(0.0) < 0.2
    assert 0.25 < palms_up(1.0) < 0.75


def test_a_train_sequence_is_shared_by_its_people(tmp_path: Path) -> None:
    demo = DemoSettings(
        seed=3, assembly_hands_train_sequences=2, assembly_hands_train_frames=4, assembly_hands_train_people=2
    )
    name, path = assembly_sequences(demo, "train")[0].name, tmp_path / "sequence.npz"
    render_assembly_sequence(demo, "train", name, tmp_path / "images", path)
    sequence = RenderedSequence.load(path)
    assert len(sequence.frames) == len(list((tmp_path / "images").glob("*/*.jpg"))) // 4 == 4
    joints = sequence.joints_world_mm[:, list(SNAP_FROM_ASSEMBLY_HANDS)]
    bones = np.linalg.norm(joints[:, 9] - joints[:, 0], axis=-1)
    assert abs(bones[0] - bones[1]) < 0.1 < abs(bones[1] - bones[2])
    assert abs(bones[2] - bones[3]) < 0.1
