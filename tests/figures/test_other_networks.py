"""Which networks of other authors are drawn."""

from pathlib import Path

import pytest

from handloom.figures.other_networks import other_networks
from handloom.runtime.errors import InputError


def test_without_settings_or_weights_there_are_none() -> None:
    assert other_networks("demo.pth", None, None) == {}
    assert other_networks(None, None, {}) == {}


def test_handoccnet_without_mano_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="HandOccNet predicts those of MANO's right hand"):
        other_networks(tmp_path / "demo.pth", None, {})
