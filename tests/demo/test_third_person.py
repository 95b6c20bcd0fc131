"""The rendered RHD and GANerated Hands have the original layouts; joints, masks and pictures agree."""

import os
from pathlib import Path

import numpy as np

from handloom.datasets import ImageSetSettings
from handloom.datasets.ganerated import GaneratedHands
from handloom.datasets.rhd import RhdHands
from handloom.demo import third_person
from handloom.demo.pictures import render_all
from handloom.demo.third_person import GANERATED_INTRINSICS, render_ganerated, render_rhd
from handloom.runtime.config.sources import DemoSettings
from handloom.runtime.images import read_grey, read_rgb
from handloom.runtime.job import THREAD_VARIABLES
from handloom.runtime.pickles import load_pickle


def _annotations(folder: Path) -> dict:
    return load_pickle(folder / f"anno_{folder.name}.pickle")


def test_rhd_has_the_original_files_and_annotation_keys(tiny: DemoSettings, rhd_folder: Path) -> None:
    annotations = _annotations(rhd_folder)
    assert sorted(annotations) == list(range(tiny.rhd_training_images))
    for index, annotation in annotations.items():
        assert set(annotation) == {"uv_vis", "xyz", "K"}
        assert annotation["uv_vis"].shape == annotation["xyz"].shape == (42, 3)
        assert set(np.unique(annotation["uv_vis"][:, 2])) <= {0.0, 1.0}
        assert read_rgb(rhd_folder / "color" / f"{index:05d}.png").shape == (320, 320, 3)
        assert read_grey(rhd_folder / "mask" / f"{index:05d}.png").shape == (320, 320)


def test_pixels_are_the_projections_of_the_joints(rhd_folder: Path) -> None:
    for annotation in _annotations(rhd_folder).values():
        pixels = annotation["xyz"] @ annotation["K"].T
        np.testing.assert_allclose(pixels[:, :2] / pixels[:, 2:], annotation["uv_vis"][:, :2], atol=1e-6)


def test_visible_joints_lie_on_their_own_hand_in_the_mask(rhd_folder: Path) -> None:
    """Joints 0-20 on labels 2-17 (left), 21-41 on 18-33 (right); label order per finger is tip to base."""
    own, swapped, same_bone = [], [], []
    for index, annotation in _annotations(rhd_folder).items():
        mask = read_grey(rhd_folder / "mask" / f"{index:05d}.png")
        visible = annotation["uv_vis"][:, 2] > 0
        column, row = np.rint(annotation["uv_vis"][visible, :2]).astype(int).T
        label = mask[row, column]
        joint = np.flatnonzero(visible)
        first = np.where(joint < 21, 2, 18)
        own.append((label >= first) & (label < first + 16))
        swapped.append((label >= 20 - first) & (label < 36 - first))
        # A joint 3 k + 2 ... of a finger lies between its two segments' labels.
        finger, place = np.divmod(joint % 21 - 1, 4)
        bone = (joint % 21 > 0) & (place > 0) & (place < 3) & own[-1]
        expected = first + 3 * finger + place
        same_bone.append(np.abs(label[bone].astype(int) - expected[bone] + 0.5) < 1)
    assert np.concatenate(own).mean() > 0.75
    assert np.concatenate(swapped).mean() < 0.1
    assert np.concatenate(same_bone).mean() > 0.6


def test_both_sides_occur_as_the_main_hand(rhd_folder: Path) -> None:
    visible = np.array([annotation["uv_vis"][:, 2] for annotation in _annotations(rhd_folder).values()])
    left_first = visible[:, :21].sum(1) > visible[:, 21:].sum(1)
    assert 0 < left_first.sum() < len(left_first)


def test_the_reader_of_the_real_rhd_reads_it(tiny: DemoSettings, rhd_folder: Path) -> None:
    hands = RhdHands(ImageSetSettings(root=str(rhd_folder.parents[1])))
    assert len(hands) == tiny.rhd_training_images
    assert all(hands.hand(row).side_px > 30 for row in range(len(hands)))


def test_any_number_of_workers_gives_the_same_bytes(tiny: DemoSettings, rhd_folder: Path, tmp_path: Path) -> None:
    render_rhd(tiny, "training", tmp_path / "training", threads=2)
    files = sorted(path.relative_to(rhd_folder) for path in rhd_folder.rglob("*.*"))
    assert len(files) == 2 * tiny.rhd_training_images + 1
    assert all((rhd_folder / path).read_bytes() == (tmp_path / "training" / path).read_bytes() for path in files)


def test_workers_compute_with_one_thread_each(monkeypatch) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.setenv(name, "8")
    assert render_all(os.getenv, THREAD_VARIABLES, threads=2, label="look") == ["1"] * len(THREAD_VARIABLES)


def test_evaluation_shows_other_pictures_than_training(tiny: DemoSettings, rhd_folder: Path, tmp_path: Path) -> None:
    render_rhd(tiny, "evaluation", tmp_path / "evaluation")
    assert len(_annotations(tmp_path / "evaluation")) == tiny.rhd_evaluation_images
    first = (tmp_path / "evaluation" / "color" / "00000.png").read_bytes()
    assert first != (rhd_folder / "color" / "00000.png").read_bytes()


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
        full = joints_mm @ GANERATED_INTRINSICS.T
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

    monkeypatch.setattr(third_person, "photograph_hands", spy)
    render_ganerated(tiny, tmp_path / "data")
    on_left, on_right = [], []
    for number, view in enumerate(views):
        labels = np.zeros((256, 256), int)
        labels[view.rows, view.columns] = view.label
        pixels = _numbers(third_person._picture_stem(tmp_path / "data", number), "joint2D").reshape(21, 2)
        column, row = np.clip(np.rint(pixels).astype(int), 0, 255).T
        on_left.append((labels[row, column] >= 2) & (labels[row, column] <= 17))
        on_right.append(labels[row, column] > 17)
    assert np.mean(on_left[::2]) > 0.75  # without object
    assert np.mean(on_left) > 0.55
    assert not np.any(on_right)


def test_the_reader_of_the_real_ganerated_hands_reads_it(tiny: DemoSettings, ganerated_folder: Path) -> None:
    hands = GaneratedHands(ImageSetSettings(root=str(ganerated_folder.parent)))
    assert len(hands) == tiny.ganerated_images
    assert all(hands.hand(row).is_left for row in range(len(hands)))


def test_the_same_seed_gives_the_same_bytes(tiny: DemoSettings, ganerated_folder: Path, tmp_path: Path) -> None:
    """With more workers too: the pool is the one that RHD's are compared with."""
    render_ganerated(tiny, tmp_path / "data")
    files = sorted(path.relative_to(ganerated_folder) for path in ganerated_folder.rglob("*.*"))
    assert len(files) == 5 * tiny.ganerated_images
    assert all((ganerated_folder / path).read_bytes() == (tmp_path / "data" / path).read_bytes() for path in files)
