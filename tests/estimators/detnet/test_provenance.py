"""Provenance: only what the configuration says, and no licence for what was not rendered here."""

from pathlib import Path

import pytest

from handloom.estimators.detnet.provenance import source_provenance
from handloom.runtime.config.load import merged, read_yaml, settings_from

ROOT = Path(__file__).parents[3]
SIZES = {
    "seed": 5,
    "assembly_hands_train_sequences": 12,
    "assembly_hands_train_frames": 120,
    "rhd_training_images": 6500,
    "ganerated_images": 4000,
}


def settings(*overlays):
    config = read_yaml(ROOT / "config.yaml")
    for overlay in overlays:
        config = merged(config, read_yaml(ROOT / overlay) if isinstance(overlay, str) else overlay)
    return settings_from(config)


def test_rendered_data_are_told_by_their_sizes():
    run = settings("config/source.yaml", {"demo": SIZES})
    found = source_provenance(run, "in")
    assert found.data == ["AssemblyHands-ego train rendered by the demo: 12 sequences x 120 frames (seed 5)"]
    assert source_provenance(run, "cross").data == [
        "RHD training rendered by the demo: 6,500 images (seed 5)",
        "GANerated Hands rendered by the demo: 4,000 images (seed 5)",
    ]
    assert found.licence.startswith("MIT")


def test_real_data_are_told_by_their_folders():
    run = settings("config/paper.yaml")
    assert source_provenance(run, "in").data == ["AssemblyHands-ego train in data/assemblyhands"]
    found = source_provenance(run, "cross")
    assert found.data == ["RHD training in data/RHD", "GANerated Hands in data/GANeratedHands_Release"]
    assert found.licence.startswith("handloom is MIT; whether these weights")
    assert found.command == "snakemake results/s2d/source/cross/card.md (preset paper)"


@pytest.mark.parametrize("setting", ["in", "cross"])
def test_the_command_of_the_shipped_networks_is_the_one_to_type(setting):
    assert source_provenance(settings("config/source.yaml"), setting).command == (
        "snakemake results/s2d/source/{in,cross}/card.md --configfile config/source.yaml --cores 2 "
        "--set-threads pretrain_source=1"
    )
