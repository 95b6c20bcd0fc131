"""Networks out of the package: checksums, what is written, and what a user without network is told."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from handloom.estimators.mediapipe import package_weights
from handloom.estimators.mediapipe.package_weights import LANDMARKS, PALMS, WHEEL, download_wheel, fetch_weights
from handloom.runtime.errors import InputError


def package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of our own with the published names, whose checksum is the expected one."""
    folder.mkdir()
    path = folder / WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in ((LANDMARKS, "landmarks"), (PALMS, "palms"), ("mediapipe/other.py", "raise SystemExit")):
            archive.writestr(name, content)
    monkeypatch.setattr(package_weights, "WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def outputs(folder: Path) -> tuple[Path, Path]:
    return folder / "out/hand.tflite", folder / "out/palm.tflite"


@pytest.fixture(autouse=True)
def own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_weights, "OWN_COPY", tmp_path / "mine")


def test_both_networks_are_taken_out_of_a_downloaded_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = package(tmp_path / "index", monkeypatch)
    asked: list[Path] = []

    def download(folder: Path) -> Path:
        asked.append(folder)
        return path

    monkeypatch.setattr(package_weights, "download_wheel", download)
    fetch_weights(*outputs(tmp_path))
    assert [each.read_bytes() for each in outputs(tmp_path)] == [b"landmarks", b"palms"]
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["hand.tflite", "palm.tflite"]
    assert len(asked) == 1
    assert not asked[0].exists()  # the download's folder is gone


def test_a_package_fetched_by_hand_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path / "mine", monkeypatch)
    monkeypatch.setattr(package_weights, "download_wheel", None)  # the network is not asked
    fetch_weights(*outputs(tmp_path))
    assert outputs(tmp_path)[0].read_bytes() == b"landmarks"


def test_another_package_is_refused_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path / "mine", monkeypatch).write_bytes(b"<html>404</html>")
    with pytest.raises(InputError, match=rf"{WHEEL}: has SHA-256 .*expected {package_weights.WHEEL_SHA256}.*By hand"):
        fetch_weights(*outputs(tmp_path))
    assert not (tmp_path / "out").exists()


def test_pip_is_asked_for_the_known_file_and_installs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        (Path(command[command.index("--dest") + 1]) / WHEEL).touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(package_weights.subprocess, "run", run)
    assert download_wheel(tmp_path) == tmp_path / WHEEL
    command = commands[0]
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "mediapipe==0.10.21", "manylinux_2_28_x86_64", "311"} <= set(command)
    assert command[command.index("--only-binary") + 1] == ":all:"


def test_without_network_pips_words_and_the_way_by_hand_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against an index that nobody serves, by the real pip."""
    for name, value in (
        *(("PIP_INDEX_URL", "http://127.0.0.1:9/simple"), ("PIP_EXTRA_INDEX_URL", ""), ("PIP_FIND_LINKS", "")),
        *(("PIP_RETRIES", "0"), ("PIP_DEFAULT_TIMEOUT", "1"), ("PIP_CONFIG_FILE", "/dev/null")),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as told:
        fetch_weights(*outputs(tmp_path))
    words = str(told.value)
    assert "mediapipe==0.10.21: pip could not download it (" in words
    assert "No matching distribution" in words
    assert f"fetch {WHEEL} from https://pypi.org/project/mediapipe/0.10.21/#files" in words
    assert "put it into data/mediapipe" in words
    assert "hold.hand.estimation.mediapipe.landmarks" in words
    assert not (tmp_path / "out").exists()


def test_a_pip_that_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_weights.sys, "executable", str(tmp_path / "no python"))
    with pytest.raises(InputError, match=r"pip could not download it \(.*no python"):
        download_wheel(tmp_path)
