"""The six methods' stages on the tiny rig: which sees labels, equal pairs for all, jobs that were killed, budgets."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handloom.adaptation.method import Method
from handloom.adaptation.methods import adda, detnet_s2dhand, fine_tune, regda, sfdahpe
from handloom.adaptation.pair_predictions import PairPredictions, first_rotation
from handloom.runtime.artifacts import read_weights
from handloom.runtime.config.methods import METHODS, MethodsSettings
from handloom.runtime.errors import InputError

from ..conftest import Epochs, Killed
from ..rig import PAIRS, SETTINGS, Adapted, Rig, adapted, other_labels

BRIEF = SETTINGS.model_copy(update={"epochs": 2})
OPTIONS = MethodsSettings.model_validate({"dagen": {"bank": 70, "neighbours": 3, "radius": 5.0}})


def stage_of(name: str) -> Callable[..., None]:
    module, _, stage = METHODS[name].stage.partition(":")
    found: Callable[..., None] = getattr(importlib.import_module(f"handloom.adaptation.methods.{module}"), stage)
    return found


def run(rig: Rig, samples: Path, name: str, folder: str, budget: str = "standard", **changes: Any) -> Adapted:
    row = METHODS[name]
    choices = {"options": OPTIONS.of(name), "variant": f"{name}/{budget}", "budget": budget}
    choices["samples"] = [samples] if row.source != "none" else []
    return adapted(rig, stage_of(name), folder, **{"settings": BRIEF, **choices, **changes})


@pytest.mark.parametrize("name", METHODS)
def test_only_fine_tuning_sees_the_targets_annotations(rig: Rig, samples: Path, name: str) -> None:
    plain = run(rig, samples, name, "plain", ray_share=0.5).contents()
    other_labels(rig.labels)
    other = run(rig, samples, name, "other", ray_share=0.5).contents()
    assert [before != after for before, after in zip(plain, other, strict=True)] == [
        *[METHODS[name].with_labels] * 2,
        True,
    ]
    if METHODS[name].with_labels:
        with pytest.raises(InputError, match=r"this method, .* takes annotations, but the camera pair has none"):
            run(rig, samples, name, "none", labels=())
    else:
        assert run(rig, samples, name, "none", ray_share=0.5, labels=()).contents()[:2] == plain[:2]


@pytest.mark.parametrize("name", METHODS)
def test_a_killed_job_ends_bit_equal(rig: Rig, samples: Path, name: str, epochs: Epochs) -> None:
    whole = run(rig, samples, name, "whole").contents()
    epochs.kill_before = 1
    with pytest.raises(Killed):
        run(rig, samples, name, "resumed", checkpoint_seconds=0)
    epochs.kill_before, epochs.run = None, []
    assert run(rig, samples, name, "resumed").contents() == whole
    assert epochs.run == [1]
    assert not (rig.folder / "work").exists()


def test_all_see_the_pairs_that_s2dhand_sees_in_its_order(
    rig: Rig, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []

    def noting(step: Callable[..., Any]) -> Callable[..., Any]:
        return lambda method, batch, update: (seen.append(batch.rows.tolist()), step(method, batch, update))[1]

    for kind in (fine_tune.FineTune, adda.Adda, detnet_s2dhand.S2DHand):
        monkeypatch.setattr(kind, "step", noting(kind.step))
    orders = []
    for start in (
        lambda: run(rig, samples, "fine_tune", "fine_tune"),
        lambda: run(rig, samples, "adda", "adda"),
        lambda: adapted(rig, detnet_s2dhand.adapt, "s2dhand", BRIEF),
    ):
        seen.clear()
        start()
        orders.append(list(seen))
    assert len(orders[0]) == 2 * 3
    assert orders[0] == orders[1] == orders[2]


@pytest.mark.parametrize(("budget", "count"), [("standard", 2), ("long", 3)])
def test_the_last_epoch_of_the_budget_is_scored(rig: Rig, samples: Path, budget: str, count: int) -> None:
    settings = BRIEF.model_copy(update={"epochs": count})
    found = run(rig, samples, "sfdahpe", "budget", budget, settings=settings)
    assert len(found.curves) == 1 + count
    predicted = PairPredictions.load(found.predictions)
    assert predicted.joints.shape == (PAIRS, 2, 21, 3)  # all pairs, not only those adapted on
    assert predicted.variant == f"sfdahpe/{budget}"
    np.testing.assert_array_equal(predicted.rotation_12, first_rotation(rig.rotations, "1-2", "single"))
    assert predicted.own_rotation_12 is not None
    np.testing.assert_allclose(predicted.own_rotation_12 @ predicted.own_rotation_12.T, np.eye(3), atol=1e-6)


@pytest.mark.parametrize(
    ("module", "method", "option", "name"),
    [(regda, "Regda", "ramp_updates", "_ramp"), (sfdahpe, "Sfdahpe", "momentum", "_momentum")],
)
def test_a_long_budget_has_its_own_options(around: Any, module: Any, method: str, option: str, name: str) -> None:
    options = getattr(OPTIONS, method.lower())
    for budget, key in (("standard", option), ("long", f"{option}_long")):
        made: Method = getattr(module, method)(around(options, budget=budget))
        assert getattr(made, name) == getattr(options, key)
    assert getattr(options, option) != getattr(options, f"{option}_long")


def test_no_epochs_gives_the_source_network(rig: Rig, samples: Path) -> None:
    found = run(rig, samples, "regda", "none", settings=BRIEF.model_copy(update={"epochs": 0}))
    source, weights = (read_weights(path, "detnet")[0] for path in (rig.source, found.network))
    assert all(torch.equal(weights[name], source[name]) for name in source)


def test_a_loss_that_is_no_number_ends_the_job(rig: Rig, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tune.FineTune, "step", lambda *_: {"total": torch.tensor(float("nan"))})
    with pytest.raises(InputError, match=r"epoch 1: losses .* not finite; lower the method's learning rate"):
        run(rig, samples, "fine_tune", "nan")


def test_missing_source_samples_are_named(rig: Rig, samples: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.npz: no such file"):
        run(rig, rig.folder / "absent.npz", "adda", "absent")
    with pytest.raises(ValueError, match="needs labelled samples of the source, but was given none"):
        adapted(rig, adda.adapt, "none", BRIEF, options=OPTIONS.adda)
