"""The card of a source checkpoint says what the files hold, and no more."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from handloom.datasets.labelled_hands import LabelledHand
from handloom.datasets.training_samples import crop_side, write_samples
from handloom.estimators.detnet.checkpoint import save_checkpoint
from handloom.estimators.detnet.network import DetNet
from handloom.estimators.detnet.pretraining import HISTORY_COLUMNS
from handloom.estimators.detnet.provenance import Provenance
from handloom.runtime.config.sources import DetNetSettings, PretrainingSettings
from handloom.runtime.errors import InputError
from handloom.runtime.stages import plain, run_job

NETWORK = DetNetSettings(input_px=32, map_cells=8, width=4, blocks=(1, 1, 1), head_width=8)
PROVENANCE = Provenance(["RHD, 40 renders", "GANerated, 21 renders"], "snakemake x", "none yet")


class _Hands:
    """The same grey picture again and again."""

    bad_fraction, channels = 0.0, 1

    def __init__(self, count):
        self._count = count

    def __len__(self):
        return self._count

    def hand(self, row):
        joints = 0.03 * np.random.default_rng(row).standard_normal((21, 3))
        image = np.zeros((64, 64), np.uint8)
        return LabelledHand(image, np.full(2, 32.0), 64.0, 32 + 100 * joints[:, :2], joints, np.ones(21), False)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    paths = [folder / "rhd.npz", folder / "ganerated.npz"]
    for path, count in zip(paths, (40, 21), strict=True):
        write_samples(path, _Hands(count), dataset=path.stem, crop_px=crop_side(NETWORK.input_px))
    return paths


def write_history(path, epochs, held_out=1.0):
    rows = [
        [epoch, 1e-3, *(10 / epoch,) * 4, *(20 * held_out / epoch,) * 4, 30 * held_out / epoch]
        for epoch in range(1, epochs + 1)
    ]
    pd.DataFrame(rows, columns=list(HISTORY_COLUMNS)).to_csv(path, index=False)
    return path


def write(folder, history, samples, **settings):
    """The card and the number of the network's parameters."""
    network, path = DetNet(NETWORK, 9), folder / "cross/detnet.safetensors"
    save_checkpoint(path, network, seed=7, code="abc")
    own = {"pretraining": plain(PretrainingSettings(**settings)), "provenance": PROVENANCE._asdict()}
    run_job(
        {"stage": "estimators.detnet.source_card:write_source_card", **own},
        inputs={"network": path, "history": history, "samples": samples},
        outputs={"card": folder / "card.md"},
        offered={},
    )
    return (folder / "card.md").read_text(), sum(parameter.numel() for parameter in network.parameters())


def table_of(card):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line.startswith("|")]


def test_the_card_states_size_data_and_error(tmp_path, samples):
    card, count = write(tmp_path, write_history(tmp_path / "history.csv", 3), samples)
    for words in (
        "`cross/detnet.safetensors`",
        f"{count:,} parameters",
        "root joint: 9",
        "- data: RHD, 40 renders; 40 hand crops",
        "- data: GANerated, 21 renders; 21 hand crops",
        "58 trained on, 3 held out",  # the last 5% of each: 2 and 1
        "`snakemake x` (code abc, seed 7)",
        "3 epochs, batch 32, Adam 0.001 (times 0.1 every 250 epochs)",
        "the last 5% of each data set, not augmented; joint error 10.00 mm",
        "loss 6.67 (heat 6.6667",
        "training loss of the last epoch: 3.33",
        "licence: none yet",
    ):
        assert words in card
    heads, _, *rows = table_of(card)
    assert heads == ["epoch", "learning rate", "training loss", "held-out loss", "held-out error, mm"]
    assert rows[0] == ["1", "0.001", "10.00", "20.00", "30.00"]
    assert rows[-1] == ["3", "0.001", "3.33", "6.67", "10.00"]
    assert len(rows) == 3


def test_a_long_training_is_shown_by_ten_epochs_from_first_to_last(tmp_path, samples):
    card, _ = write(tmp_path, write_history(tmp_path / "history.csv", 500), samples, schedule="cosine")
    epochs = [int(row[0]) for row in table_of(card)[2:]]
    assert len(epochs) == 10
    assert (epochs[0], epochs[-1]) == (1, 500)
    assert set(np.diff(epochs)) == {55, 56}
    assert "(cosine)" in card


def test_without_held_out_images_no_error_is_claimed(tmp_path, samples):
    history = write_history(tmp_path / "history.csv", 4, held_out=math.nan)
    card, _ = write(tmp_path, history, samples, held_out_fraction=0)
    assert "61 trained on, 0 held out" in card
    assert "- held out: nothing" in card
    assert not re.search(r"\bnan\b", card)
    assert table_of(card)[-1] == ["4", "0.001", "2.50", "-", "-"]


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", ",".join(HISTORY_COLUMNS)])
def test_another_history_is_refused(tmp_path, samples, content):
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(InputError, match=r"history\.csv"):
        write(tmp_path, tmp_path / "history.csv", samples)
