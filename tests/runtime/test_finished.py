"""What is finished is kept when its job runs again, and nothing else is."""

from pathlib import Path

import pytest

from handloom.runtime.finished import seconds_of, taken_from_place, write_record
from handloom.runtime.outputs import appearing_together


def run(folder: Path, made_of: str, *, fails: bool = False) -> bool:
    """A job with one part; whether that was kept."""
    outputs = {"network": str(folder / "seed1.npz"), "record": str(folder / "seed1.record.json")}
    with appearing_together(outputs) as made:
        network, record = Path(str(made["network"])), Path(str(made["record"]))
        if taken_from_place(record, made_of, [network]):
            return True
        network.write_text(f"trained of {made_of}")
        if fails:
            raise RuntimeError("killed")
        write_record(record, made_of, [network], 2.5)
    return False


def test_a_finished_part_is_kept_as_it_is(tmp_path: Path) -> None:
    assert not run(tmp_path, "a")
    first = (tmp_path / "seed1.npz").stat().st_ino
    assert run(tmp_path, "a")
    assert (tmp_path / "seed1.npz").stat().st_ino == first
    assert seconds_of(tmp_path / "seed1.record.json") == 2.5


def test_other_settings_a_changed_file_and_a_broken_record_make_it_again(tmp_path: Path) -> None:
    run(tmp_path, "a")
    assert not run(tmp_path, "b")
    assert (tmp_path / "seed1.npz").read_text() == "trained of b"
    (tmp_path / "seed1.npz").write_text("somebody's own")
    assert not run(tmp_path, "b")
    for broken in ("[]", "{", "{}"):
        (tmp_path / "seed1.record.json").write_text(broken)
        assert not run(tmp_path, "b")
    (tmp_path / "seed1.npz").unlink()
    assert not run(tmp_path, "b")


def test_a_job_that_fails_leaves_nothing_of_other_settings(tmp_path: Path) -> None:
    run(tmp_path, "a")
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path, "b", fails=True)
    assert not (tmp_path / "seed1.npz").exists()
    assert not run(tmp_path, "a")
