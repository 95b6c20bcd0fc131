"""The outputs of a job appear together or not at all; a killed attempt leaves nothing for ever."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from handloom.runtime import outputs
from handloom.runtime.errors import OutputError
from handloom.runtime.outputs import appearing_together, when_in_place


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """A file, a folder and a file in another folder."""
    return {"video": f"{tmp_path}/a/v.mp4", "frames": f"{tmp_path}/a/frames", "page": f"{tmp_path}/page.html"}


def write(made: dict[str, str | list[str]], text: str) -> None:
    Path(str(made["video"])).write_text(text)
    Path(str(made["frames"])).mkdir()
    Path(str(made["frames"]), "0.png").write_text(text)
    Path(str(made["page"])).write_text(text)


def lying(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


WHOLE = {"a/v.mp4": "new", "a/frames/0.png": "new", "page.html": "new"}


def test_nothing_is_there_before_all_is_made_and_names_stay(tmp_path: Path, places: dict[str, str]) -> None:
    with appearing_together(places) as made:
        write(made, "new")
        assert [Path(str(made[name])).name for name in places] == ["v.mp4", "frames", "page.html"]
        assert not any(Path(place).exists() for place in places.values())
    assert lying(tmp_path) == WHOLE
    assert {path.name for path in tmp_path.rglob("*")} == {"a", "v.mp4", "frames", "0.png", "page.html"}


def test_a_stage_that_fails_changes_nothing(tmp_path: Path, places: dict[str, str]) -> None:
    with appearing_together(places) as made:
        write(made, "old")

    def half() -> None:
        with appearing_together(places) as made:
            Path(str(made["video"])).write_text("new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        half()

    def forget() -> None:
        with appearing_together(places) as made:
            Path(str(made["video"])).write_text("new")

    with pytest.raises(OutputError, match=r"frames, .*page\.html: not written by its stage"):
        forget()
    assert lying(tmp_path) == dict.fromkeys(WHOLE, "old")


def test_what_was_there_is_replaced_folders_too(tmp_path: Path, places: dict[str, str]) -> None:
    for text in ("old", "new"):
        with appearing_together(places) as made:
            write(made, text)
    assert lying(tmp_path) == WHOLE


def test_an_output_may_be_a_list(tmp_path: Path) -> None:
    with appearing_together({"all": [f"{tmp_path}/1", f"{tmp_path}/2"]}) as made:
        for path in made["all"]:
            Path(path).touch()
    assert sorted(lying(tmp_path)) == ["1", "2"]


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_the_next_attempt_mends_what_a_kill_between_two_moves_left(
    tmp_path: Path, places: dict[str, str], moves: int, capsys: pytest.CaptureFixture[str]
) -> None:
    program = f"""
import os, signal
from pathlib import Path
from handloom.runtime import outputs
count = 0
def move(source, target):
    global count
    if count == {moves}:
        os.kill(os.getpid(), signal.SIGKILL)
    count += 1
    os.replace(source, target)
outputs.move = move
with outputs.appearing_together({places!r}) as made:
    Path(made["video"]).write_text("new")
    Path(made["frames"]).mkdir()
    Path(made["frames"], "0.png").write_text("new")
    Path(made["page"]).write_text("new")
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert sum(Path(place).exists() for place in places.values()) == moves
    assert any(".making-" in str(path) for path in tmp_path.rglob("*"))
    with appearing_together(places) as made:
        write(made, "new")
    assert "an earlier attempt of this job was killed" in capsys.readouterr().err
    assert lying(tmp_path) == WHOLE
    assert not any(".making-" in str(path) for path in tmp_path.rglob("*"))


def test_a_training_s_state_goes_when_its_results_lie_in_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    state.touch()
    moved: list[bool] = []
    monkeypatch.setattr(outputs, "move", lambda *paths: (moved.append(state.exists()), os.replace(*paths)))
    with appearing_together({"a": f"{tmp_path}/a"}) as made:
        Path(str(made["a"])).touch()
        when_in_place(state.unlink)
    assert moved == [True]
    assert not state.exists()
    state.touch()
    when_in_place(state.unlink)  # where no job runs, at once
    assert not state.exists()


def test_a_full_disk_is_told_of_the_output_not_of_where_it_is_made(tmp_path: Path) -> None:
    def write_much() -> None:
        with appearing_together({"a": f"{tmp_path}/a.txt"}) as made:
            raise OutputError(28, f"no room to write {made['a']}: full")

    with pytest.raises(OutputError, match=f"no room to write {tmp_path}/a.txt: full") as told:
        write_much()
    assert told.value.errno == 28
