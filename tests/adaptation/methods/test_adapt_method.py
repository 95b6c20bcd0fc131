"""The stage on the tiny rig: which method sees which labels, equal pairs for all, and jobs that were killed."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from handloom.adaptation.methods import adapt_method as stage
from handloom.adaptation.methods.method import TargetBatch
from handloom.adaptation.methods.method_job import MethodJob
from handloom.adaptation.methods.names import WITH_SOURCE, WITH_TARGET_LABELS
from handloom.adaptation.rotation_start import read_rotation
from handloom.adaptation.s2dhand import Adaptation, adapt
from handloom.datasets.views import load_views, save_views
from handloom.runtime.artifacts import read_arrays, read_weights
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.methods import DagenSettings, MethodName, MethodsSettings
from handloom.runtime.errors import InputError

from ..conftest import PAIRS, ROOT_JOINT, Rig  # noqa: TID252  # the rig of the folder above

NAMES = get_args(MethodName)
ADAPTATION = AdaptationSettings(pairs=20, batch_size=8, epochs=2, diagnostic_pairs=8)
METHODS = MethodsSettings(long_epochs=3, dagen=DagenSettings(bank=70, neighbours=3, radius=5.0))


def run(
    rig: Rig,
    samples: Path,
    name: MethodName,
    folder: str,
    budget: str = "standard",
    adaptation: AdaptationSettings = ADAPTATION,
    **changes: Any,
) -> stage.MethodOutputs:
    suffixes = (".safetensors", ".predictions.npz", ".history.csv")
    outputs = stage.MethodOutputs(*(rig.folder / f"{folder}{suffix}" for suffix in suffixes))
    kept = [samples] if name in WITH_SOURCE else []
    inputs = stage.MethodInputs(*rig.views, rig.source, rig.rotations, kept)
    choices = {"root_joint": ROOT_JOINT, "fidelity": "fixed", "seed": 1, "work": rig.folder / "work", **changes}
    stage.adapt_method(name, budget, "1-2", METHODS, adaptation, rig.detnet, inputs, outputs, **choices)
    return outputs


def blinded(rig: Rig) -> None:
    """Other annotations and calibrations of the same images."""
    for path in rig.views:
        view = load_views(path)
        blind = replace(
            view,
            joints_cam_m=view.joints_cam_m[:, ::-1] + 1,
            joint_valid=1 - view.joint_valid,
            keypoints_256px=view.keypoints_256px * 0,
            focal_px=view.focal_px * 2,
            principal_point_px=view.principal_point_px + 30,
            cam_from_world_rotation=view.cam_from_world_rotation.transpose(0, 2, 1).copy(),
            cam_from_world_translation_mm=view.cam_from_world_translation_mm + 100,
        )
        save_views(path, blind)


@pytest.mark.parametrize("name", NAMES)
def test_only_fine_tuning_sees_the_targets_annotations(rig: Rig, samples: Path, name: MethodName) -> None:
    plain = run(rig, samples, name, "plain", ray_share=0.5)
    blinded(rig)
    blind = run(rig, samples, name, "blind", ray_share=0.5)
    sees = name in WITH_TARGET_LABELS
    assert (plain.weights.read_bytes() != blind.weights.read_bytes()) == sees
    assert (plain.predictions.read_bytes() != blind.predictions.read_bytes()) == sees
    assert plain.history.read_bytes() != blind.history.read_bytes()  # the curves do see them


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_job_ends_bit_equal(
    rig: Rig, samples: Path, name: MethodName, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(rig, samples, name, "whole")

    class Killed(Exception):
        pass

    run_epoch = MethodJob.run_epoch

    def killed_in_epoch_2(job: MethodJob) -> None:
        if job.epoch == 1:
            raise Killed
        run_epoch(job)

    monkeypatch.setattr(MethodJob, "run_epoch", killed_in_epoch_2)
    hasty = ADAPTATION.model_copy(update={"checkpoint_seconds": 0.0})
    with pytest.raises(Killed):
        run(rig, samples, name, "resumed", adaptation=hasty)
    epochs = []

    def counted(job: MethodJob) -> None:
        epochs.append(job.epoch)
        run_epoch(job)

    monkeypatch.setattr(MethodJob, "run_epoch", counted)
    resumed = run(rig, samples, name, "resumed")
    assert epochs == [1]
    for one, other in zip(vars(whole).values(), vars(resumed).values(), strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert not any((rig.folder / "work").iterdir())


def test_all_see_the_pairs_that_s2dhand_sees_in_its_order(
    rig: Rig, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[torch.Tensor]] = {"s2dhand": [], "fine_tune": [], "adda": []}
    plain = MethodJob._batch

    def noted(job: MethodJob, rows: torch.Tensor) -> TargetBatch:
        seen[running].append(rows)
        return plain(job, rows)

    monkeypatch.setattr(MethodJob, "_batch", noted)
    for running in ("fine_tune", "adda"):
        run(rig, samples, running, running)
    run_epoch = Adaptation.run_epoch

    def order_of_epoch(job: Adaptation) -> None:
        state = job.generator.get_state()
        order = torch.randperm(len(job.pairs.is_left), generator=job.generator)
        seen["s2dhand"] += order.split(ADAPTATION.batch_size)
        job.generator.set_state(state)
        run_epoch(job)

    monkeypatch.setattr(Adaptation, "run_epoch", order_of_epoch)
    outputs = [rig.folder / name for name in ("s.safetensors", "s.npz", "s.csv")]
    adapt(
        ADAPTATION, rig.detnet, *rig.views, rig.source, rig.rotations, "1-2", "s2dhand", *outputs,
        work=rig.folder / "work", root_joint=ROOT_JOINT, fidelity="fixed", seed=1,
    )  # fmt: skip
    assert len(seen["s2dhand"]) == 2 * 3
    for name in ("fine_tune", "adda"):
        assert [rows.tolist() for rows in seen[name]] == [rows.tolist() for rows in seen["s2dhand"]]


@pytest.mark.parametrize(("budget", "epochs"), [("standard", 2), ("long", 3)])
def test_the_last_epoch_of_the_budget_is_scored(rig: Rig, samples: Path, budget: str, epochs: int) -> None:
    outputs = run(rig, samples, "sfdahpe", "budget", budget)
    assert len(outputs.history.read_text().splitlines()) == 1 + 1 + epochs
    arrays, header = read_arrays(outputs.predictions, "pair_predictions")
    assert arrays["joints"].shape == (PAIRS, 2, 21, 3)  # all pairs, not only those adapted on
    assert header.extra["variant"] == f"sfdahpe/{budget}"
    np.testing.assert_array_equal(arrays["rotation_12"], read_rotation(rig.rotations, "1-2", "single").numpy())
    np.testing.assert_allclose(arrays["own_rotation_12"] @ arrays["own_rotation_12"].T, np.eye(3), atol=1e-6)


def test_no_epochs_gives_the_source_network(rig: Rig, samples: Path) -> None:
    outputs = run(rig, samples, "regda", "none", adaptation=ADAPTATION.model_copy(update={"epochs": 0}))
    adapted, _ = read_weights(outputs.weights, "detnet")
    source, _ = read_weights(rig.source, "detnet")
    assert all(torch.equal(adapted[name], source[name]) for name in source)


def test_a_loss_that_is_no_number_ends_the_job(rig: Rig, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from handloom.adaptation.methods.fine_tune import FineTune

    monkeypatch.setattr(FineTune, "step", lambda *_: {"total": torch.tensor(float("nan"))})
    with pytest.raises(InputError, match=r"epoch 1: losses .* not finite; lower the method's learning rate"):
        run(rig, samples, "fine_tune", "nan")


def test_missing_source_samples_are_named(rig: Rig, samples: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.npz: no such file"):
        run(rig, rig.folder / "absent.npz", "adda", "absent")
