"""The adaptation stage on a tiny rig: it works without labels, resumes bit-equal, and faithful is the release."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handloom.adaptation import s2dhand
from handloom.datasets.views import load_views, save_views
from handloom.runtime.artifacts import read_arrays, read_weights
from handloom.runtime.config.adaptation import AdaptationSettings, AugmentationSettings
from handloom.runtime.errors import InputError

from .conftest import PAIRS, ROOT_JOINT, Rig

SETTINGS = AdaptationSettings(
    pairs=20,
    batch_size=8,
    epochs=4,
    learning_rate=1e-2,
    teacher_momentum=0.5,
    teacher_warm_up=False,
    diagnostic_pairs=8,
)


def run(rig: Rig, name: str, settings: AdaptationSettings = SETTINGS, **changes: Any) -> tuple[Path, Path, Path]:
    """Adapt; returns weights, predictions and history."""
    outputs = tuple(rig.folder / f"{name}{suffix}" for suffix in (".safetensors", ".predictions.npz", ".history.csv"))
    arguments = {"fidelity": "fixed", "seed": 1, "root_joint": ROOT_JOINT, "work": rig.folder / "work", **changes}
    s2dhand.adapt(settings, rig.detnet, *rig.views, rig.source, rig.rotations, "1-2", "s2dhand", *outputs, **arguments)
    return outputs


def rows(history: Path) -> list[dict[str, float]]:
    with history.open() as file:
        return [{name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(file)]


def test_adaptation_makes_the_views_agree(rig: Rig) -> None:
    weights, predictions, history = run(rig, "plain", SETTINGS.model_copy(update={"epochs": 12}))
    curve = rows(history)
    assert [row["epoch"] for row in curve] == list(range(13))
    assert curve[-1]["label_disagreement"] < 0.85 * curve[1]["label_disagreement"]
    assert curve[0]["student_teacher_distance"] == 0 < curve[1]["student_teacher_distance"]
    assert weights.stat().st_size > 0
    arrays, header = read_arrays(predictions, "pair_predictions")
    assert arrays["joints"].shape == (PAIRS, 2, 21, 3)  # all pairs, not only those adapted on
    assert header.extra["pair"] == "1-2"


def test_fixed_mode_cannot_see_annotations(rig: Rig) -> None:
    plain = run(rig, "plain", ray_share=0.5)
    for path in rig.views:
        view = load_views(path)
        blind = replace(
            view,
            joints_cam_m=view.joints_cam_m + 1,
            joint_valid=1 - view.joint_valid,
            keypoints_256px=view.keypoints_256px * 0,
            focal_px=view.focal_px * 2,
            principal_point_px=view.principal_point_px + 30,
            cam_from_world_rotation=view.cam_from_world_rotation.transpose(0, 2, 1).copy(),
            cam_from_world_translation_mm=view.cam_from_world_translation_mm + 100,
        )
        save_views(path, blind)
    blind_run = run(rig, "blind", ray_share=0.5)
    for seen, unseen in zip(plain[:2], blind_run[:2], strict=True):
        assert seen.read_bytes() == unseen.read_bytes()
    assert plain[2].read_bytes() != blind_run[2].read_bytes()  # the curves do see them


def test_faithful_mode_uses_annotations_says_so_and_keeps_the_first_rotation(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 1, "pairs": 4, "rotation_momentum": 0.999})
    _, predictions, history = run(rig, "faithful", settings, fidelity="faithful")
    assert "annotated joint validity" in capfd.readouterr().err
    arrays, _ = read_arrays(predictions, "pair_predictions")
    start = s2dhand.read_rotation(rig.rotations, "1-2", "single").numpy()
    np.testing.assert_array_equal(arrays["rotation_12"], start)
    curve = rows(history)
    assert abs(curve[1]["rotation_error_deg"] - curve[0]["rotation_error_deg"]) < 1e-3


def test_the_rotation_follows_the_teacher_slowly_and_is_saved(rig: Rig) -> None:
    first = s2dhand.read_rotation(rig.rotations, "1-2", "single").numpy()
    moved = {}
    for momentum in (1.0, 0.9, 0.0):
        settings = SETTINGS.model_copy(update={"rotation_momentum": momentum})
        arrays, _ = read_arrays(run(rig, f"m{momentum}", settings)[1], "pair_predictions")
        moved[momentum] = np.linalg.norm(arrays["rotation_12"] - first)
    assert moved[1.0] < 1e-12 < moved[0.9] < moved[0.0]


def test_the_teachers_rotation_is_taken_from_poses_turned_by_their_rays(rig: Rig) -> None:
    """Crops of a view all at one place: the rotation after the first epoch is Q1 R Q2^T of the one without rays.

    The curves of a run with rays also tell the teacher's rotation without them.
    """
    offsets = ((0.56, 0.13), (-0.24, 0.39))
    for path, offset in zip(rig.views, offsets, strict=True):
        view = load_views(path)
        save_views(path, replace(view, crop_offset_half_widths=np.tile(offset, (PAIRS, 1))))
    settings = SETTINGS.model_copy(update={"epochs": 1, "rotation_momentum": 0.0, "field_of_view_deg": 90.0})
    rotations, curves = [], []
    for share in (0.0, 0.6):
        _, predictions, history = run(rig, f"share{share}", settings, ray_share=share)
        rotations.append(read_arrays(predictions, "pair_predictions")[0]["rotation_12"])
        curves.append(rows(history)[-1])
    turns = []
    for offset in offsets:
        ray = np.array([*offset, 1])  # half of 90 degrees spreads over half of the width
        axis = np.cross([0, 0, 1], ray)
        angle = np.arctan2(np.linalg.norm(axis), ray[2])
        turns.append(Rotation.from_rotvec(0.6 * angle * axis / np.linalg.norm(axis)).as_matrix())
    np.testing.assert_allclose(rotations[1], turns[0] @ rotations[0] @ turns[1].T, atol=1e-6)
    assert np.linalg.norm(rotations[1] - rotations[0]) > 0.1
    assert "teacher_published_rotation_error_deg" not in curves[0]
    plain = curves[0]["teacher_rotation_error_deg"]
    assert curves[1]["teacher_published_rotation_error_deg"] == pytest.approx(plain, rel=1e-5)
    assert curves[1]["teacher_rotation_error_deg"] != pytest.approx(plain, abs=0.1)


@pytest.mark.parametrize("evaluate", ["student", "teacher"])
def test_a_killed_job_ends_bit_equal(rig: Rig, evaluate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    augmentation = AugmentationSettings(rotation_deg=10, scale=0.1, brightness=0.1, contrast=0.2, noise=0.02)
    settings = SETTINGS.model_copy(
        update={"learning_rate_decay": "cosine", "augmentation": augmentation, "evaluate": evaluate}
    )
    whole = [path.read_bytes() for path in run(rig, "whole", settings)]

    class Killed(Exception):
        pass

    run_epoch = s2dhand.Adaptation.run_epoch

    def killed_in_epoch_3(job: s2dhand.Adaptation) -> None:
        if job.epoch == 2:
            raise Killed
        run_epoch(job)

    monkeypatch.setattr(s2dhand.Adaptation, "run_epoch", killed_in_epoch_3)
    with pytest.raises(Killed):
        run(rig, "resumed", settings.model_copy(update={"checkpoint_seconds": 0.0}))
    assert not (rig.folder / "resumed.safetensors").exists()
    epochs_run = []

    def counted(job: s2dhand.Adaptation) -> None:
        epochs_run.append(job.epoch)
        run_epoch(job)

    monkeypatch.setattr(s2dhand.Adaptation, "run_epoch", counted)
    assert [path.read_bytes() for path in run(rig, "resumed", settings)] == whole
    assert epochs_run == [2, 3]
    assert not any((rig.folder / "work").iterdir())


def test_seeds_differ_and_repeat(rig: Rig) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 1})
    weights = [run(rig, f"seed{i}", settings, seed=seed)[0].read_bytes() for i, seed in enumerate((1, 1, 2))]
    arrays = [read_arrays(rig.folder / f"seed{i}.predictions.npz", "pair_predictions")[0] for i in range(3)]
    assert weights[0] == weights[1]
    assert not np.array_equal(arrays[0]["joints"], arrays[2]["joints"])


def test_no_epochs_gives_the_source_network(rig: Rig) -> None:
    weights, _, history = run(rig, "none", SETTINGS.model_copy(update={"epochs": 0}))
    source, _ = read_weights(rig.source, "detnet")
    adapted, _ = read_weights(weights, "detnet")
    assert all(torch.equal(adapted[name], source[name]) for name in source)
    assert len(rows(history)) == 1


def test_a_missing_rotation_is_named(rig: Rig) -> None:
    with pytest.raises(InputError, match=r"rotations\.json: has no single 3x3 rotation of pair 3-4"):
        s2dhand.read_rotation(rig.rotations, "3-4", "single")


def test_a_pair_without_a_common_frame_is_named_and_its_earlier_results_stay(rig: Rig) -> None:
    outputs = run(rig, "pair", SETTINGS.model_copy(update={"epochs": 0}))
    before = [path.read_bytes() for path in outputs]
    view = load_views(rig.views[1])
    save_views(rig.views[1], replace(view, frame=view.frame + 1000))
    with pytest.raises(InputError, match=r"share no hand in any frame.*leave this pair out of `pairs`"):
        run(rig, "pair")
    assert [path.read_bytes() for path in outputs] == before


def test_a_source_of_another_root_joint_or_size_is_named_and_earlier_results_stay(rig: Rig) -> None:
    outputs = run(rig, "source", SETTINGS.model_copy(update={"epochs": 0}))
    before = [path.read_bytes() for path in outputs]
    with pytest.raises(InputError, match=r"source\.safetensors: was trained with root joint 0, but root joint 9"):
        run(rig, "source", root_joint=9)
    wider = rig._replace(detnet=rig.detnet.model_copy(update={"width": 2 * rig.detnet.width}))
    with pytest.raises(InputError, match=r"source\.safetensors: is no checkpoint of the configured DetNet"):
        run(wider, "source")
    assert [path.read_bytes() for path in outputs] == before
