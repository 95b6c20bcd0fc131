"""Files that the package ships: where they lie, what there is, and copies that are what a run was planned with."""

from pathlib import Path

import pytest

from handloom.runtime.assets import PACKAGE_DATA, checkpoint_path, shipped_digest, take_shipped
from handloom.runtime.errors import InputError

NAME = "detnet_small_in.safetensors"


def test_shipped_checkpoints_lie_in_the_package() -> None:
    assert checkpoint_path(f"package:{NAME}") == PACKAGE_DATA / NAME
    assert checkpoint_path("data/a.pth") == Path("data/a.pth")


def test_a_network_that_is_not_shipped_is_refused_with_those_that_are() -> None:
    with pytest.raises(InputError, match=rf"package:detnet\.safetensors: handloom ships no such .*it ships .*{NAME}"):
        shipped_digest("detnet.safetensors")


def test_a_shipped_network_is_copied_unless_it_changed_since_the_plan(tmp_path: Path) -> None:
    take_shipped(tmp_path / NAME, name=NAME, digest=shipped_digest(NAME))
    assert (tmp_path / NAME).read_bytes() == (PACKAGE_DATA / NAME).read_bytes()
    with pytest.raises(InputError, match="changed while the run was planned; run again"):
        take_shipped(tmp_path / "other", name=NAME, digest="0")
    assert not (tmp_path / "other").exists()
