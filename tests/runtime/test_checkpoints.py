"""Checkpoints: the newest whole one is found, others are passed over, and a fingerprint follows what it names."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel

from handloom.runtime.checkpoints import CheckpointFolder, fingerprint
from handloom.runtime.errors import InputError, StoppedError


class Rate(BaseModel):
    rate: float


def test_the_fingerprint_follows_settings_values_and_file_contents(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    first = fingerprint(Rate(rate=1), {"b": 1, "a": 2}, file)
    assert fingerprint(Rate(rate=1), {"a": 2, "b": 1}, file) == first
    assert fingerprint(Rate(rate=2), {"a": 2, "b": 1}, file) != first
    assert fingerprint({"a": 2, "b": 1}, Rate(rate=1), file) != first
    file.write_text("two")
    assert fingerprint(Rate(rate=1), {"a": 2, "b": 1}, file) != first


def test_neighbouring_parts_do_not_run_into_each_other() -> None:
    assert fingerprint("ab", "c") != fingerprint("a", "bc")


def test_a_missing_file_and_an_unknown_type_have_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        fingerprint(tmp_path / "missing")
    with pytest.raises(TypeError, match="not set"):
        fingerprint({1, 2})


def test_the_newest_state_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, fingerprint("a"))
    assert folder.load() is None
    for step in (1, 2, 10):
        folder.save(step, {"step": step, "weight": torch.full((3,), float(step)), "nested": {"a": [1, "b"]}})
    state = folder.load()
    assert state is not None
    assert state["step"] == 10
    assert torch.equal(state["weight"], torch.full((3,), 10.0))
    assert len(list(folder.path.iterdir())) == 2


def test_another_fingerprint_does_not_see_the_state(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path, fingerprint("a")).save(1, {"step": 1})
    assert CheckpointFolder(tmp_path, fingerprint("b")).load() is None


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_newest_state_gives_way_to_the_one_before(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = CheckpointFolder(tmp_path, fingerprint("a"))
    folder.save(1, {"step": 1, "weight": torch.zeros(100)})
    folder.save(2, {"step": 2, "weight": torch.zeros(100)})
    newest = max(folder.path.iterdir())
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content[:200] if damage == "truncated" else content)
    state = folder.load()
    assert state is not None
    assert state["step"] == 1
    assert newest.name in capsys.readouterr().err


def test_a_state_that_would_run_code_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(trace),)

    folder = CheckpointFolder(tmp_path / "work", fingerprint("a"))
    folder.save(1, {"step": Malicious()})
    with pytest.raises(InputError, match="not a checkpoint of handloom"):
        folder.load()
    assert not trace.exists()


@pytest.fixture
def _signals() -> Iterator[None]:
    """The handler as it was: what was stopped leaves its own, as its process is to end."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("_signals")
def test_a_training_that_is_asked_to_stop_saves_first_whatever_the_interval(tmp_path: Path) -> None:
    folder, done = CheckpointFolder(tmp_path, fingerprint("a")), 0

    def reached() -> dict[str, int]:
        return {"step": done}

    def train() -> None:
        nonlocal done
        with folder.kept(1000) as save:
            for step in range(1, 9):
                if step == 5:
                    os.kill(os.getpid(), signal.SIGTERM)
                done = step
                save(step, reached)

    with pytest.raises(StoppedError, match="asked to stop, saved at step 5; the same command goes on from there"):
        train()
    assert done == 5
    assert folder.load() == {"step": 5}
    os.kill(os.getpid(), signal.SIGTERM)  # a second signal does not cut the last words short


def test_signals_are_as_they_were_after_a_training(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with CheckpointFolder(tmp_path, fingerprint("a")).kept(10):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("seconds", "saved"), [(20, [2, 6, 14, 30, 50, 70, 90]), (0, list(range(1, 101))), (1, list(range(1, 101)))]
)
def test_saves_come_early_and_then_at_the_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int, saved: list[int]
) -> None:
    """Protects jobs with little time: they get on, too."""
    folder, now, found = CheckpointFolder(tmp_path, fingerprint("a")), [0.0], []
    monkeypatch.setattr("handloom.runtime.checkpoints.time.monotonic", lambda: now[0])
    monkeypatch.setattr(folder, "save", lambda step, state: found.append(step))
    with folder.kept(seconds) as save:
        for step in range(1, 101):
            now[0] = float(step)
            save(step, dict)
    assert found == saved


def test_random_state_survives(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(5)
    torch.rand(3, generator=generator)
    folder = CheckpointFolder(tmp_path, fingerprint("a"))
    folder.save(1, {"generator": generator.get_state()})
    expected = torch.rand(4, generator=generator)
    state = folder.load()
    assert state is not None
    resumed = torch.Generator()
    resumed.set_state(state["generator"])
    assert torch.equal(torch.rand(4, generator=resumed), expected)


def test_remove_leaves_nothing(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, fingerprint("a"))
    folder.save(1, {"step": 1})
    folder.remove()
    folder.remove()
    assert list(tmp_path.iterdir()) == []
