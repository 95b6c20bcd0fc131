"""Which hand a run uses: the embedded one, or the user's converted model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from handloom.hand.configured_hand import configured_hand
from handloom.hand.model_file import write_hand_model
from handloom.hand.open_hand import open_hand
from handloom.runtime.errors import InputError


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_a_file_the_embedded_hand_is_used(nothing: str | None) -> None:
    """Protects runs without MANO: an empty setting is no path."""
    assert torch.equal(configured_hand(nothing).v_template, open_hand().v_template)


def test_the_embedded_hand_has_the_wanted_side() -> None:
    """Protects left hands from being reconstructed with a right one."""
    left = configured_hand(None, "left")
    assert left.side == "left"
    assert torch.equal(left.v_template, open_hand("left").v_template)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_converted_model_is_used(tmp_path: Path, kind: type) -> None:
    """Protects the user's choice: the file's model, not the embedded one; snakemake gives paths as text."""
    path = tmp_path / "mano_right.npz"
    model = replace(open_hand(), v_template=1.1 * open_hand().v_template)
    write_hand_model(path, model, {}, {})
    found = configured_hand(kind(path))
    assert torch.equal(found.v_template, model.v_template)
    assert not torch.equal(found.v_template, open_hand().v_template)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    """Protects the user from falling back silently to the embedded hand."""
    with pytest.raises(InputError, match=r"mano_right\.npz"):
        configured_hand(tmp_path / "mano_right.npz")
