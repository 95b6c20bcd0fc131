"""The rendered RHD has the original layout; joints, masks and pictures agree."""

from pathlib import Path

import numpy as np

from handloom.datasets.rhd import RhdHands
from handloom.demo.rhd import render_rhd
from handloom.runtime.config.datasets import DemoSettings, ImageSetSettings
from handloom.runtime.images import read_grey, read_rgb
from handloom.runtime.pickles import load_pickle


def _annotations(folder: Path) -> dict:
    return load_pickle(folder / f"anno_{folder.name}.pickle")


def test_files_and_annotation_keys_are_the_originals(tiny: DemoSettings, rhd_folder: Path) -> None:
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


def test_the_reader_of_the_real_data_set_reads_it(tiny: DemoSettings, rhd_folder: Path) -> None:
    hands = RhdHands(ImageSetSettings(root=str(rhd_folder.parents[1])))
    assert len(hands) == tiny.rhd_training_images
    assert all(hands.hand(row).side_px > 30 for row in range(len(hands)))


def test_any_number_of_workers_gives_the_same_bytes(tiny: DemoSettings, rhd_folder: Path, tmp_path: Path) -> None:
    render_rhd(tiny, "training", tmp_path / "training", threads=2)
    files = sorted(path.relative_to(rhd_folder) for path in rhd_folder.rglob("*.*"))
    assert len(files) == 2 * tiny.rhd_training_images + 1
    assert all((rhd_folder / path).read_bytes() == (tmp_path / "training" / path).read_bytes() for path in files)


def test_evaluation_shows_other_pictures_than_training(tiny: DemoSettings, rhd_folder: Path, tmp_path: Path) -> None:
    render_rhd(tiny, "evaluation", tmp_path / "evaluation")
    assert len(_annotations(tmp_path / "evaluation")) == tiny.rhd_evaluation_images
    first = (tmp_path / "evaluation" / "color" / "00000.png").read_bytes()
    assert first != (rhd_folder / "color" / "00000.png").read_bytes()
