"""Every preset has its own results: those of one are never replaced by, or shown as, those of another."""

from pathlib import Path

from handloom.runtime.places import PRESET_RECORD, place_of, placed


def test_results_are_of_the_preset_that_ran_first_and_others_lie_beside(tmp_path: Path) -> None:
    assert place_of("smoke", tmp_path) == ""
    (tmp_path / PRESET_RECORD).parent.mkdir()
    (tmp_path / PRESET_RECORD).write_text("demo\n")
    assert place_of("demo", tmp_path) == ""
    assert place_of("smoke", tmp_path) == "presets/smoke/"
    names = ["a/b", "a_b", "a%2Fb", "..", ".", "../x", "é {x}"]
    places = {place_of(name, tmp_path) for name in names}
    assert len(places) == len(names)
    for place in places:
        inside = (tmp_path / place).resolve()
        assert inside.parent == (tmp_path / "presets").resolve(), "a preset's name leads out of its folder"


def test_shared_files_stay_and_no_path_is_moved_twice() -> None:
    assert placed("results/tables/hold.csv", "presets/smoke/") == "presets/smoke/results/tables/hold.csv"
    for path in (
        "presets/smoke/results/tables/hold.csv",
        "resources/mediapipe/a",
        "data/mug.mp4",
        "check",
        "results_x/a",
    ):
        assert placed(path, "presets/smoke/") == path
