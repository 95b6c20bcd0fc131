"""Progress passes every item on and tells now and then how far it is."""

from collections.abc import Iterator

import pytest

from handloom.runtime import progress as module
from handloom.runtime.progress import progress


def test_all_items_pass_and_the_end_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(5), "cropping")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err.startswith("cropping: 5 done in")


def test_lines_come_now_and_then_in_a_log(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    list(progress(iter("ab"), "training", total=2))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("training: 1 of 2 after")
    assert len(lines) == 3


def test_an_unknown_length_is_no_trouble(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    assert list(progress(iter("ab"), "reading")) == ["a", "b"]
    assert capsys.readouterr().err.splitlines()[0] == "reading: 1 after 0 s"


def test_an_error_in_the_loop_is_not_swallowed() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        list(progress(failing(), "training"))
