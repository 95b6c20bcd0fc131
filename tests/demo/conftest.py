"""Tiny rendered data sets, made once for all tests of the demo."""

from pathlib import Path

import pytest

from handloom.demo.assembly_hands import gather_assembly_split, render_assembly_sequence, write_skeleton
from handloom.demo.ganerated import render_ganerated
from handloom.demo.rhd import render_rhd
from handloom.demo.sequences import assembly_sequences
from handloom.runtime.config.datasets import DemoSettings


@pytest.fixture(scope="session")
def tiny() -> DemoSettings:
    return DemoSettings(
        seed=11,
        assembly_hands_train_sequences=2,
        assembly_hands_train_frames=2,
        assembly_hands_val_frames=4,
        rhd_training_images=8,
        rhd_evaluation_images=2,
        ganerated_images=8,
    )


@pytest.fixture(scope="session")
def assembly_root(tiny: DemoSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("assemblyhands")
    annotations = [root / "sequences" / f"{plan.name}.npz" for plan in assembly_sequences(tiny, "val")]
    for plan, annotation in zip(assembly_sequences(tiny, "val"), annotations, strict=True):
        images = root / "images" / "ego_images_rectified" / "val" / plan.name
        render_assembly_sequence(tiny, "val", plan.name, images, annotation)
    gather_assembly_split(tiny, "val", annotations, root / "annotations" / "val")
    write_skeleton(root / "annotations" / "skeleton.txt")
    return root


@pytest.fixture(scope="session")
def rhd_folder(tiny: DemoSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("RHD") / "RHD_published_v2" / "training"
    render_rhd(tiny, "training", folder)
    return folder


@pytest.fixture(scope="session")
def ganerated_folder(tiny: DemoSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("GANeratedHands_Release") / "data"
    render_ganerated(tiny, folder)
    return folder
