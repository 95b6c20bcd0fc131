"""MediaPipe's networks out of its Python package on PyPI: version 0.10.21 is the last known to hold them.

They are under the Apache licence 2.0 (Copyright 2020-2023 The MediaPipe Authors), as is the package; handloom does not
ship them. The package is not installed: only two of its members are read. Source: facts/assets.md B.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from handloom.runtime.errors import InputError
from handloom.runtime.files import atomic_path

VERSION = "0.10.21"
PLATFORM, PYTHON = "manylinux_2_28_x86_64", "311"
HOME = f"https://pypi.org/project/mediapipe/{VERSION}/#files"
OWN_COPY = Path("data/mediapipe")
"""Folder in which a package that the user fetched by hand is looked for first."""
_TIMEOUT_S = 1200
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class PackageFile:
    """A file whose content is known."""

    name: str
    sha256: str


WHEEL = PackageFile(
    f"mediapipe-{VERSION}-cp{PYTHON}-cp{PYTHON}-{PLATFORM}.whl",
    "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
)
LANDMARKS = PackageFile(
    "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
    "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
)
PALMS = PackageFile(
    "mediapipe/modules/palm_detection/palm_detection_full.tflite",
    "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
)


def download_wheel(folder: Path) -> Path:
    """The package's file for Linux, whatever this machine is, by pip and its configured index; nothing is installed.

    Raises InputError, with pip's words, when it cannot be had.
    """
    wanted = f"--platform {PLATFORM} --python-version {PYTHON} --only-binary :all: --no-deps --quiet".split()
    command = [sys.executable, "-m", "pip", "download", *wanted, "--dest", str(folder), f"mediapipe=={VERSION}"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
        said = ended.stderr.strip()[-_SHOWN_CHARACTERS:] if ended.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    found = sorted(folder.glob("*.whl"))
    if said or not found:
        raise InputError(f"mediapipe=={VERSION}: pip could not download it ({said or 'it left no file'}). {_by_hand()}")
    return found[0]


def fetch_weights(
    landmarks: Path,
    palms: Path,
    *,
    own_copy: Path = OWN_COPY,
    download: Callable[[Path], Path] = download_wheel,
    files: tuple[PackageFile, PackageFile, PackageFile] = (WHEEL, LANDMARKS, PALMS),
) -> None:
    """Stage: write both networks, each whole or not at all; the package lies in `own_copy` or is downloaded.

    Raises InputError, which says what to do by hand, when there is no package or when it is another one than expected.
    """
    wheel, *members = files
    with tempfile.TemporaryDirectory() as temporary:
        mine = own_copy / wheel.name
        package = mine if mine.is_file() else download(Path(temporary))
        _check(hashlib.sha256(package.read_bytes()).hexdigest(), wheel, str(package))
        with zipfile.ZipFile(package) as archive:
            contents = [archive.read(member.name) for member in members]
    for content, member in zip(contents, members, strict=True):
        _check(hashlib.sha256(content).hexdigest(), member, f"{package.name}: {member.name}")
    for content, output in zip(contents, (landmarks, palms), strict=True):
        with atomic_path(output) as unfinished:
            unfinished.write_bytes(content)


def _check(found: str, expected: PackageFile, where: str) -> None:
    if found != expected.sha256:
        raise InputError(
            f"{where}: has SHA-256 {found}, expected {expected.sha256}; it is damaged or another file. {_by_hand()}"
        )


def _by_hand() -> str:
    return (
        f"By hand: fetch {WHEEL.name} from {HOME}, on any machine, and put it into {OWN_COPY}; or unpack its "
        f"{LANDMARKS.name} and {PALMS.name} and name them in hold.hand.estimation.mediapipe.landmarks and .palms"
    )
