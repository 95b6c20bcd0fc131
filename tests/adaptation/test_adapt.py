"""The adaptation stage on a tiny rig: it works without labels, resumes bit-equal, and faithful is the release."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from handloom.adaptation.methods.detnet_s2dhand import adapt
from handloom.adaptation.pair_predictions import PairPredictions, first_rotation
from handloom.datasets.views import HandCrops, HandLabels
from handloom.runtime.artifacts import read_weights
from handloom.runtime.config.adaptation import AugmentationSettings
from handloom.runtime.errors import InputError

from .conftest import Epochs, Killed
from .rig import PAIRS, ROOT_JOINT, SETTINGS, Adapted, Rig, adapted, other_labels, small_detnet


def changed(**settings: Any) -> Any:
    return SETTINGS.model_copy(update=settings)


def test_adaptation_makes_the_views_agree(rig: Rig) -> None:
    found = adapted(rig, adapt, "plain", changed(epochs=12))
    curves = found.curves
    assert [row["epoch"] for row in curves] == list(range(13))
    assert curves[-1]["label_disagreement"] < 0.85 * curves[1]["label_disagreement"]
    assert curves[0]["student_teacher_distance"] == 0 < curves[1]["student_teacher_distance"]
    predicted = PairPredictions.load(found.predictions)
    assert predicted.joints.shape == (PAIRS, 2, 21, 3)  # all pairs, not only those adapted on
    assert (predicted.pair, predicted.variant, predicted.seed) == ("1-2", "s2dhand", 1)
    assert (predicted.root_joint, predicted.metric, predicted.fidelity) == (ROOT_JOINT, False, "fixed")
    assert predicted.own_rotation_12 is None


def test_other_labels_or_none_change_the_curves_only(rig: Rig) -> None:
    plain = adapted(rig, adapt, "plain", ray_share=0.5).contents()
    none = adapted(rig, adapt, "none", ray_share=0.5, labels=())
    other_labels(rig.labels)
    other = adapted(rig, adapt, "other", ray_share=0.5).contents()
    assert plain[:2] == other[:2] == none.contents()[:2]
    assert plain[2] != other[2]
    assert not {name for name in none.curves[0] if name.endswith(("_mm", "error_deg"))}
    for path in rig.labels:
        known = HandLabels.load(path)
        replace(known, joints_cam_m=known.joints_cam_m * np.nan, joint_valid=0 * known.joint_valid).save(path)
    assert adapted(rig, adapt, "withheld", ray_share=0.5).contents() == none.contents()


def test_how_many_pairs_the_curves_show_changes_nothing_else(rig: Rig) -> None:
    many, few = (adapted(rig, adapt, f"{shown}", changed(epochs=1, diagnostic_pairs=shown)) for shown in (8, 0))
    assert many.contents()[:2] == few.contents()[:2]
    assert "student_mono_mm" not in few.curves[0]


def test_faithful_mode_uses_annotations_says_so_and_keeps_the_first_rotation(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also where the network's confidence would say the same: the leak is the annotations' validity and veil."""
    settings = changed(epochs=1, pairs=2, rotation_momentum=0.999)
    found = adapted(rig, adapt, "faithful", settings, fidelity="faithful")
    assert "annotations enter this adaptation, not only its curves" in capfd.readouterr().err
    start = first_rotation(rig.rotations, "1-2", "single")
    np.testing.assert_array_equal(PairPredictions.load(found.predictions).rotation_12, start)
    curves = found.curves
    assert abs(curves[1]["rotation_error_deg"] - curves[0]["rotation_error_deg"]) < 1e-3
    before = found.contents()
    labels = HandLabels.load(rig.labels[0])
    replace(labels, joint_valid=np.where(np.arange(21) < 9, labels.joint_valid, 0.0)).save(rig.labels[0])
    assert adapted(rig, adapt, "other", settings, fidelity="faithful").contents()[0] != before[0]
    with pytest.raises(InputError, match="fidelity: faithful, takes annotations, but the camera pair has none"):
        adapted(rig, adapt, "none", settings, fidelity="faithful", labels=())


@pytest.mark.parametrize("evaluate", ["student", "teacher"])
def test_a_killed_job_ends_bit_equal(
    rig: Rig, epochs: Epochs, evaluate: str, capfd: pytest.CaptureFixture[str]
) -> None:
    augmentation = AugmentationSettings(rotation_deg=10, scale=0.1, brightness=0.1, contrast=0.2, noise=0.02)
    settings = changed(learning_rate_decay="cosine", augmentation=augmentation, evaluate=evaluate)
    whole = adapted(rig, adapt, "whole", settings).contents()
    epochs.kill_before = 2
    with pytest.raises(Killed):
        adapted(rig, adapt, "resumed", settings, checkpoint_seconds=0)
    assert not (rig.folder / "resumed.safetensors").exists()
    epochs.kill_before, epochs.run = None, []
    assert adapted(rig, adapt, "resumed", settings).contents() == whole
    assert epochs.run == [2, 3]
    assert "going on at epoch 2" in capfd.readouterr().err
    assert not (rig.folder / "work").exists()


@pytest.mark.parametrize(
    "other",
    [
        {"settings": changed(learning_rate=2e-2)},
        {"seeds": [2]},
        {"code": "other"},
        {"ray_share": 0.5},
        {"variant": "x"},
    ],
)
def test_another_job_does_not_go_on_from_a_killed_one(rig: Rig, epochs: Epochs, other: dict[str, Any]) -> None:
    epochs.kill_before = 2
    with pytest.raises(Killed):
        adapted(rig, adapt, "one", checkpoint_seconds=0)
    epochs.run = []
    with pytest.raises(Killed):
        adapted(rig, adapt, "one", **other)
    assert epochs.run == [0, 1]


def test_seeds_differ_and_repeat(rig: Rig) -> None:
    first, same, other = (
        adapted(rig, adapt, f"{i}", changed(epochs=1), seeds=[seed]) for i, seed in enumerate((1, 1, 2))
    )
    assert first.contents()[0] == same.contents()[0]
    joints = [PairPredictions.load(each.predictions).joints for each in (first, other)]
    assert not np.array_equal(*joints)


def test_no_epochs_gives_the_source_network(rig: Rig) -> None:
    found = adapted(rig, adapt, "none", changed(epochs=0))
    source, weights = (read_weights(path, "detnet")[0] for path in (rig.source, found.network))
    assert all(torch.equal(weights[name], source[name]) for name in source)
    assert len(found.curves) == 1


def fails(rig: Rig, told: str, before: Adapted, **changes: Any) -> None:
    """The same outputs again: the error is told, and the earlier results stay as they are."""
    contents = before.contents()
    with pytest.raises(InputError, match=told):
        adapted(rig, adapt, before.network.stem, **changes)
    assert before.contents() == contents


def test_what_cannot_be_adapted_is_named_and_earlier_results_stay(rig: Rig) -> None:
    before = adapted(rig, adapt, "pair", changed(epochs=0))
    fails(rig, r"rotations\.json: has no published 3x3 rotation of pair 1-2", before, start="published")
    fails(
        rig,
        r"epoch 1: losses .* are not finite; lower the method's learning rate",
        before,
        settings=changed(learning_rate=1e30),
    )
    torch.save(small_detnet().state_dict(), rig.folder / "published.pth")
    published = rig._replace(source=rig.folder / "published.pth")
    fails(published, r"published\.pth: does not tell its root joint; name it as a source's checkpoint", before)
    fails(rig, "labels: found 1 files, expected one for each view", before, labels=rig.labels[:1])
    view = HandCrops.load(rig.crops[1])
    replace(view, frame=view.frame + 1000).save(rig.crops[1])
    fails(rig, r"share no hand in any frame.*leave this pair out of `pairs`", before)
