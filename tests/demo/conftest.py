"""Tiny rendered data sets, made once for all tests of the demo."""

from pathlib import Path

import pytest

from handloom.datasets import AssemblyHandsSettings
from handloom.datasets.assembly_hands import annotation_files
from handloom.demo.headsets import render_assembly_split
from handloom.demo.third_person import render_ganerated, render_rhd
from handloom.runtime.config.sources import DemoSettings


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
    files = annotation_files(AssemblyHandsSettings(root=str(root)), "val")
    images, sequences = root / "images/ego_images_rectified/val", root / "sequences"
    images.parent.mkdir(parents=True)
    render_assembly_split(tiny, "val", images, sequences, files.data, files.calibration, files.joints)
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
