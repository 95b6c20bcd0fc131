"""The card of a source checkpoint says what the files hold."""

import pandas as pd
import pytest

from handloom.estimators.detnet.checkpoint import save_checkpoint
from handloom.estimators.detnet.network import DetNet
from handloom.estimators.detnet.pretraining import HISTORY_COLUMNS
from handloom.estimators.detnet.source_card import write_card
from handloom.runtime.config.detnet import DetNetSettings, PretrainingSettings
from handloom.runtime.errors import InputError

NETWORK = DetNetSettings(input_px=32, map_cells=8, width=4, blocks=(1, 1, 1), head_width=8)


@pytest.fixture
def history(tmp_path):
    rows = [[epoch, 1e-3, *(10.0 / epoch,) * 8, 30.0 / epoch] for epoch in (1, 2, 3)]
    pd.DataFrame(rows, columns=list(HISTORY_COLUMNS)).to_csv(tmp_path / "history.csv", index=False)
    return tmp_path / "history.csv"


def write(folder, history):
    network = DetNet(NETWORK)
    save_checkpoint(folder / "detnet.safetensors", network, 9, seed=7, code="abc")
    output = folder / "card.md"
    write_card(
        folder / "detnet.safetensors",
        history,
        output,
        settings=PretrainingSettings(),
        data=["RHD, 12,000 renders"],
        command="snakemake x",
    )
    return output.read_text(), sum(parameter.numel() for parameter in network.parameters())


def test_the_card_states_size_data_and_error(tmp_path, history):
    card, count = write(tmp_path, history)
    for words in (f"{count:,} parameters", "root joint: 9", "RHD, 12,000 renders", "seed 7", "10.00 mm", "3 epochs"):
        assert words in card


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n"])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(InputError, match=r"history\.csv"):
        write(tmp_path, tmp_path / "history.csv")
