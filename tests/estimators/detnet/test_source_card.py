"""The card and the curves of a source checkpoint say what the files hold."""

import pandas as pd
import pytest
from PIL import Image

from handloom.estimators.detnet.checkpoint import save_checkpoint
from handloom.estimators.detnet.network import DetNet
from handloom.estimators.detnet.pretraining import HISTORY_COLUMNS
from handloom.estimators.detnet.source_card import draw_training_curves, write_card
from handloom.runtime.config.detnet import DetNetSettings, PretrainingSettings
from handloom.runtime.errors import InputError

NETWORK = DetNetSettings(input_px=32, map_cells=8, width=4, blocks=(1, 1, 1), head_width=8)


@pytest.fixture
def history(tmp_path):
    rows = [[epoch, 1e-3, *(10.0 / epoch,) * 8, 30.0 / epoch] for epoch in (1, 2, 3)]
    pd.DataFrame(rows, columns=list(HISTORY_COLUMNS)).to_csv(tmp_path / "history.csv", index=False)
    return tmp_path / "history.csv"


def test_the_card_states_size_data_and_error(tmp_path, history):
    network = DetNet(NETWORK)
    save_checkpoint(tmp_path / "detnet.safetensors", network, 9, seed=7, code="abc")
    output = tmp_path / "card.md"
    write_card(
        tmp_path / "detnet.safetensors",
        history,
        output,
        settings=PretrainingSettings(),
        data=["RHD, 12,000 renders"],
        command="snakemake x",
    )
    card = output.read_text()
    count = sum(parameter.numel() for parameter in network.parameters())
    for words in (f"{count:,} parameters", "root joint: 9", "RHD, 12,000 renders", "seed 7", "10.00 mm", "3 epochs"):
        assert words in card


def test_curves_are_a_picture_and_the_same_each_time(tmp_path, history):
    for name in ("a.png", "b.png"):
        draw_training_curves(history, tmp_path / name)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 500
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n"])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(InputError, match=r"history\.csv"):
        draw_training_curves(tmp_path / "history.csv", tmp_path / "a.png")
