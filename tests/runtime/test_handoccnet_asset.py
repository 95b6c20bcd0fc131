"""HandOccNet's checkpoint among what the asset check lists, and what a run without it is told."""

from pathlib import Path
from typing import Any

import pytest

from handloom.runtime.assets import HANDOCCNET_SETTING, assets, missing, require
from handloom.runtime.config.load import merged, read_yaml, settings_from
from handloom.runtime.config.root import RunSettings
from handloom.runtime.errors import InputError

ROOT = Path(__file__).parents[2]
WEIGHTS = "data/checkpoints/snapshot_demo.pth.tar"


def settings(backend: str, **changed: Any) -> RunSettings:
    hold = {"hand": {"estimation": {"backend": backend}}}
    return settings_from(merged(read_yaml(ROOT / "config.yaml"), {"hold": hold, **changed}))


def test_the_row_is_found_where_the_setting_leads(tmp_path: Path) -> None:
    def row():
        return next(row for row in assets(settings("detnet"), tmp_path) if row.setting == HANDOCCNET_SETTING)

    assert (row().expected, row().found) == (WEIGHTS, False)
    (tmp_path / WEIGHTS).parent.mkdir(parents=True)
    (tmp_path / WEIGHTS).touch()
    assert row().found


def test_it_lacks_only_to_a_run_that_uses_it(tmp_path: Path) -> None:
    """The picture does without it."""
    for backend in ("detnet", "metro"):
        lines = missing(settings(backend, mano="data/mano"), tmp_path)
        assert not any(HANDOCCNET_SETTING in line for line in lines)
    lines = missing(settings("handoccnet", mano="data/mano"), tmp_path)
    assert [line for line in lines if line.startswith(f"{HANDOCCNET_SETTING}: no file {WEIGHTS}")]


def test_a_run_is_told_file_and_home(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{WEIGHTS}: not found.*https://github.com/namepllet/HandOccNet"):
        require(settings("handoccnet", mano="data/mano"), tmp_path, HANDOCCNET_SETTING, [WEIGHTS])


def test_handoccnet_needs_mano() -> None:
    with pytest.raises(InputError, match=r"backend is handoccnet.*mano is null"):
        settings("handoccnet", mano=None)
