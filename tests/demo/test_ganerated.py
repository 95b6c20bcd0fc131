"""The rendered GANerated Hands has the original layout; joints lie on the hand."""

from pathlib import Path

import numpy as np

from handloom.datasets.ganerated import GaneratedHands
from handloom.demo import ganerated as stage
from handloom.demo import third_person
from handloom.demo.ganerated import INTRINSICS, render_ganerated
from handloom.runtime.config.datasets import DemoSettings, ImageSetSettings
from handloom.runtime.images import read_rgb


def _stems(folder: Path) -> list[Path]:
    suffix = "_color_composed.png"
    return [path.with_name(path.name.removesuffix(suffix)) for path in sorted(folder.glob(f"*/*/*{suffix}"))]


def _numbers(stem: Path, name: str) -> np.ndarray:
    return np.array(stem.with_name(f"{stem.name}_{name}.txt").read_text().split(","), float)


def test_half_of_the_pictures_have_an_object(tiny: DemoSettings, ganerated_folder: Path) -> None:
    kinds = [stem.parts[-3] for stem in _stems(ganerated_folder)]
    assert len(kinds) == tiny.ganerated_images
    assert kinds.count("withObject") == kinds.count("noObject") == tiny.ganerated_images // 2
    assert {stem.parent.name for stem in _stems(ganerated_folder)} == {"0001"}


def test_joints_project_into_the_crop_with_the_original_camera(ganerated_folder: Path) -> None:
    for stem in _stems(ganerated_folder):
        joints_mm = _numbers(stem, "joint_pos_global").reshape(21, 3)
        u, v, scale = _numbers(stem, "crop_params")
        full = joints_mm @ INTRINSICS.T
        crop = (full[:, :2] / full[:, 2:] - [u, v]) * scale
        # Text files keep four decimals, and the crop's scale multiplies the rounding.
        np.testing.assert_allclose(crop, _numbers(stem, "joint2D").reshape(21, 2), atol=0.2)
        assert (np.abs(crop - 128) < 128).mean() > 0.9
        assert 300 < joints_mm[:, 2].mean() < 800
        assert read_rgb(stem.with_name(f"{stem.name}_color_composed.png")).shape == (256, 256, 3)


def test_joints_lie_on_a_left_hand(tiny: DemoSettings, monkeypatch, tmp_path: Path) -> None:
    views = []
    photograph = third_person.photograph_hands

    def spy(*arguments):
        picture, view = photograph(*arguments)
        views.append(view)
        return picture, view

    monkeypatch.setattr(stage, "photograph_hands", spy)
    render_ganerated(tiny, tmp_path / "data")
    on_left, on_right = [], []
    for number, view in enumerate(views):
        labels = np.zeros((256, 256), int)
        labels[view.rows, view.columns] = view.label
        pixels = _numbers(stage._picture_stem(tmp_path / "data", number), "joint2D").reshape(21, 2)
        column, row = np.clip(np.rint(pixels).astype(int), 0, 255).T
        on_left.append((labels[row, column] >= 2) & (labels[row, column] <= 17))
        on_right.append(labels[row, column] > 17)
    assert np.mean(on_left[::2]) > 0.75  # without object
    assert np.mean(on_left) > 0.55
    assert not np.any(on_right)


def test_the_reader_of_the_real_data_set_reads_it(tiny: DemoSettings, ganerated_folder: Path) -> None:
    hands = GaneratedHands(ImageSetSettings(root=str(ganerated_folder.parent)))
    assert len(hands) == tiny.ganerated_images
    assert all(hands.hand(row).is_left for row in range(len(hands)))


def test_the_same_seed_gives_the_same_bytes(tiny: DemoSettings, ganerated_folder: Path, tmp_path: Path) -> None:
    """With more workers too: the pool is the one that tests/demo/test_rhd.py compares."""
    render_ganerated(tiny, tmp_path / "data")
    files = sorted(path.relative_to(ganerated_folder) for path in ganerated_folder.rglob("*.*"))
    assert len(files) == 5 * tiny.ganerated_images
    assert all((ganerated_folder / path).read_bytes() == (tmp_path / "data" / path).read_bytes() for path in files)
