"""MediaPipe's networks among what the asset check lists, and a user's own file of them."""

from pathlib import Path
from typing import Any

import pytest

from handloom.runtime.assets import MEDIAPIPE_SETTING, assets, missing, require
from handloom.runtime.config.load import merged, read_yaml, settings_from
from handloom.runtime.config.mediapipe import LANDMARKS_FILE, PALMS_FILE
from handloom.runtime.config.root import RunSettings
from handloom.runtime.errors import InputError

ROOT = Path(__file__).parents[2]


def settings(backend: str = "mediapipe", **mediapipe: Any) -> RunSettings:
    hold = {"hand": {"estimation": {"backend": backend, "mediapipe": mediapipe}}}
    return settings_from(merged(read_yaml(ROOT / "config.yaml"), {"hold": hold}))


def test_both_networks_are_listed_with_the_rule_that_fetches_them(tmp_path: Path) -> None:
    (tmp_path / LANDMARKS_FILE).parent.mkdir(parents=True)
    (tmp_path / LANDMARKS_FILE).touch()
    rows = [row for row in assets(settings(), tmp_path) if row.setting.startswith(MEDIAPIPE_SETTING)]
    assert [(row.expected, row.found) for row in rows] == [(LANDMARKS_FILE, True), (PALMS_FILE, False)]
    assert all(row.licence == "Apache-2.0" and "fetched by its rule" in row.enables for row in rows)


def test_a_run_lacks_nothing_that_a_rule_fetches_but_does_lack_an_own_file(tmp_path: Path) -> None:
    assert not any(MEDIAPIPE_SETTING in line for line in missing(settings(), tmp_path))
    own = settings(landmarks="mine/hand.tflite")
    lines = [line for line in missing(own, tmp_path) if MEDIAPIPE_SETTING in line]
    assert lines == [f"{MEDIAPIPE_SETTING}.landmarks: no file mine/hand.tflite; its default is fetched by a rule"]
    assert not any(MEDIAPIPE_SETTING in line for line in missing(settings("detnet", landmarks="mine"), tmp_path))
    row = next(row for row in assets(own, tmp_path) if row.setting == f"{MEDIAPIPE_SETTING}.landmarks")
    assert "your own file" in row.enables
    with pytest.raises(
        InputError, match=r"mine/hand\.tflite: not found.*Apache-2\.0.*https://pypi\.org/project/mediapipe"
    ):
        require(own, tmp_path, f"{MEDIAPIPE_SETTING}.landmarks", ["mine/hand.tflite"])


def test_it_needs_no_mano() -> None:
    assert settings().mano is None
