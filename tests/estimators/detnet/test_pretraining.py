"""Pretraining: it learns, a killed run ends with the same bytes, and its files say what they are."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from handloom.datasets.labelled_hands import LabelledHand
from handloom.datasets.training_samples import crop_side, load_samples, write_samples
from handloom.estimators.detnet import pretraining
from handloom.estimators.detnet.augmentation import no_augmentation
from handloom.estimators.detnet.checkpoint import load_checkpoint
from handloom.estimators.detnet.pretraining import joint_errors_mm, learning_rate, pretrain
from handloom.estimators.detnet.training_batches import SamplePool
from handloom.runtime.config.sources import DetNetSettings, PretrainingSettings
from handloom.runtime.errors import InputError

NETWORK = DetNetSettings(input_px=32, map_cells=8, width=4, blocks=(1, 1, 1), head_width=8)
SETTINGS = PretrainingSettings(
    seed=3, epochs=2, batch_size=4, learning_rate=2e-3, held_out_fraction=0.2, schedule="cosine"
)


class _Hands:
    """Bright dots at random joints, seen by an orthographic camera."""

    bad_fraction = 0.0

    def __init__(self, count: int, channels: int) -> None:
        self.channels, self._count = channels, count

    def __len__(self) -> int:
        return self._count

    def hand(self, row: int) -> LabelledHand:
        generator = np.random.default_rng([self.channels, row])
        joints_m = 0.05 * generator.standard_normal((21, 3))
        keypoints = 48 + 400 * joints_m[:, :2]
        image = np.zeros((96, 96), np.uint8)
        for x, y in keypoints.clip(0, 93).astype(int):
            image[y : y + 3, x : x + 3] = 255
        image = image if self.channels == 1 else np.repeat(image[..., None], 3, axis=2)
        return LabelledHand(image, np.full(2, 48.0), 96.0, keypoints, joints_m, np.ones(21), bool(row % 2))


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("samples")
    paths = [folder / "colour.npz", folder / "grey.npz"]
    for path, channels in zip(paths, (3, 1), strict=True):
        write_samples(path, _Hands(12, channels), dataset="rhd", crop_px=crop_side(NETWORK.input_px))
    return paths


class Trained(NamedTuple):
    """What a training leaves."""

    network: Path
    history: Path


def run(
    folder: Path, samples: list[Path], settings: PretrainingSettings = SETTINGS, start: Path | None = None
) -> Trained:
    """Train, with a checkpoint after every step."""
    outputs = Trained(folder / "detnet.safetensors", folder / "history.csv")
    places = {"root_joint": 9, "work": folder / "work", "checkpoint_seconds": 0, "code": "test"}
    pretrain(samples, *outputs, detnet=NETWORK, pretraining=settings, start=start, **places)
    return outputs


class KilledError(Exception):
    pass


class DyingForward:
    """The forward pass of the training, which ends the run at one of its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, last_call: int) -> None:
        self._forward, self._last_call, self.calls = pretraining._forward, last_call, 0
        monkeypatch.setattr(pretraining, "_forward", self)

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self._last_call:
            raise KilledError
        return self._forward(*arguments)


# Five steps and one held-out batch make an epoch: killed at a step of the first and the second epoch, and between them.
@pytest.mark.parametrize(("precision", "last_call"), [("float32", 3), ("float32", 6), ("float32", 9), ("bfloat16", 9)])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path, samples, monkeypatch, precision, last_call):
    settings = SETTINGS.model_copy(update={"precision": precision})
    whole = run(tmp_path / "whole", samples, settings)
    forward = DyingForward(monkeypatch, last_call)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", samples, settings)
    assert not (tmp_path / "killed" / "detnet.safetensors").exists()
    resumed = run(tmp_path / "killed", samples, settings)
    assert forward.calls == 2 * 6 + 1, "it did steps again instead of going on"
    assert resumed.network.read_bytes() == whole.network.read_bytes()
    assert resumed.history.read_bytes() == whole.history.read_bytes()
    assert not any((tmp_path / "killed" / "work").glob("*"))


def test_the_average_of_the_weights_is_written_and_resumed(tmp_path, samples, monkeypatch):
    last = run(tmp_path / "last", samples)
    averaged = SETTINGS.model_copy(update={"weight_average": 0.9, "noise": 0.1, "warm_up_steps": 3})
    whole = run(tmp_path / "whole", samples, averaged)
    DyingForward(monkeypatch, 9)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", samples, averaged)
    resumed = run(tmp_path / "killed", samples, averaged)
    assert resumed.network.read_bytes() == whole.network.read_bytes() != last.network.read_bytes()


def test_a_training_begins_as_its_start(tmp_path, samples):
    first = run(tmp_path / "first", samples, SETTINGS.model_copy(update={"epochs": 8}))
    still = SETTINGS.model_copy(update={"epochs": 1, "learning_rate": 1e-12})
    begun, at_random = run(tmp_path / "begun", samples, still, start=first.network), run(tmp_path / "x", samples, still)
    last, same, other = (pd.read_csv(each.history)["train_total"].iloc[-1] for each in (first, begun, at_random))
    assert same < 1.03 * last < other


def test_other_settings_do_not_go_on_from_a_killed_run(tmp_path, samples, monkeypatch, capsys):
    DyingForward(monkeypatch, 4)
    with pytest.raises(KilledError):
        run(tmp_path, samples)
    run(tmp_path, samples, SETTINGS.model_copy(update={"learning_rate": 1e-4}))
    assert "going on" not in capsys.readouterr().err


def test_the_loss_falls(tmp_path, samples):
    outputs = run(tmp_path, samples, SETTINGS.model_copy(update={"epochs": 8}))
    history = pd.read_csv(outputs.history)
    assert list(history["epoch"]) == list(range(1, 9))
    assert history["train_total"].iloc[-1] < 0.8 * history["train_total"].iloc[0]
    assert history["held_out_total"].iloc[-1] < history["held_out_total"].iloc[0]
    assert (history["held_out_error_mm"] > 0).all()


def test_the_checkpoint_tells_its_root_joint(tmp_path, samples):
    outputs = run(tmp_path, samples, SETTINGS.model_copy(update={"epochs": 1}))
    load_checkpoint(outputs.network, NETWORK, 9)
    with pytest.raises(InputError, match="root joint 9"):
        load_checkpoint(outputs.network, NETWORK, 0)


def test_a_diverging_training_stops_with_advice(tmp_path, samples):
    with pytest.raises(InputError, match=r"diverged; lower pretraining\.learning_rate"):
        run(tmp_path, samples, SETTINGS.model_copy(update={"learning_rate": 1e30}))


def test_targets_of_a_batch_fit_its_images(samples):
    """The dots of the test images are where the heat maps say."""
    pool = SamplePool([load_samples(path) for path in samples], 0.0)
    batch = pool.batch(pool.trained, no_augmentation(len(pool.trained)), NETWORK, 9, "cpu")
    light = torch.nn.functional.avg_pool2d(batch.images[:, 0] + 0.5, 4)
    visible = batch.heat * batch.veil[:, :, None, None]
    at_joints = (light[:, None] * (visible == 1)).sum() / (visible == 1).sum()
    assert at_joints > 3 * light.mean()
    assert (batch.location[:, 9] == 0).all()


def test_the_tail_of_each_data_set_is_held_out(samples):
    pool = SamplePool([load_samples(path) for path in samples], 0.2)
    assert pool.held_out.tolist() == [10, 11, 22, 23]
    epochs = [np.concatenate(pool.batch_order(4, 1, epoch)) for epoch in range(2)]
    assert sorted(epochs[0]) == pool.trained.tolist()
    assert sorted(epochs[1]) == pool.trained.tolist()
    assert epochs[0].tolist() != epochs[1].tolist()


def test_crops_of_two_sizes_are_refused(tmp_path, samples):
    write_samples(tmp_path / "a.npz", _Hands(4, 3), dataset="rhd", crop_px=60)
    with pytest.raises(InputError, match=r"\[48, 60\] px"):
        SamplePool([load_samples(path) for path in (*samples, tmp_path / "a.npz")], 0.0)


def test_learning_rates():
    step = PretrainingSettings(learning_rate=1.0, schedule="step")
    assert [learning_rate(step, epoch * 10 + 9, 10) for epoch in (0, 249, 250, 500)] == pytest.approx([1, 1, 0.1, 0.01])
    cosine = PretrainingSettings(learning_rate=1.0, schedule="cosine", epochs=4)
    assert [learning_rate(cosine, at, 10) for at in (0, 20, 40)] == pytest.approx([1, 0.5, 0])


def test_errors_ignore_scale_and_position_and_are_in_millimetres():
    target = torch.randn(2, 21, 3, generator=torch.Generator().manual_seed(1))
    target = (target - target[:, :1]) / (target[:, 9] - target[:, 0]).norm(dim=-1)[:, None, None]
    bone_m = torch.tensor([0.1, 0.08])
    torch.testing.assert_close(
        joint_errors_mm(3 * target + 1, target, bone_m, 0), torch.zeros(2, 21), atol=1e-3, rtol=0
    )
    moved = target.clone()
    moved[0, 4, 2] += 0.25
    assert joint_errors_mm(moved, target, bone_m, 0)[0, 4].item() == pytest.approx(25, abs=1e-3)


def test_without_held_out_samples_the_curves_say_so(tmp_path, samples):
    outputs = run(tmp_path, samples, SETTINGS.model_copy(update={"epochs": 1, "held_out_fraction": 0.0}))
    assert math.isnan(pd.read_csv(outputs.history)["held_out_error_mm"][0])
