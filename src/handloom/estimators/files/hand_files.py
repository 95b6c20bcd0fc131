"""Files of hands, as a user brings them: a folder, a zip archive or one file, and which tool wrote them."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from handloom.estimators.files.hold_results import MESHES, read_hold_results
from handloom.estimators.files.mano_records import SUFFIXES, read_mano_records
from handloom.estimators.files.tool_hands import ToolHands
from handloom.hand.joints import Side
from handloom.runtime.errors import InputError, listed
from handloom.runtime.reading import MEGABYTE, reading, require_regular

_MOST_FILES = 100_000
_MOST_BYTES = 4000 * MEGABYTE
_RUNS_CODE = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib")
_TAKEN = (*SUFFIXES, ".npy")
EXPECTED = "HOLD's v3d.npy with what lies beside it, or MANO's parameters in .npz or .json files"
_ADVICE = "docs/your_own_video.md tells what to bring"


def read_tool_hands(given: Path, side: Side, side_advice: str) -> ToolHands:
    """The hands of one side in a user's folder, zip archive or file.

    Raises InputError for what is of no tool that is known, as the tools' readers do, and for hands of the other side
    only; `side_advice` says what to do about that.
    """
    with _opened(given) as place:
        try:
            hands = _read(place, given, side, side_advice)
        except InputError as error:  # an archive's files lie elsewhere for the moment
            raise InputError(str(error).replace(str(place), str(given))) from error
        return replace(hands, where=Path(str(hands.where).replace(str(place), str(given))))


def _read(place: Path, given: Path, side: Side, side_advice: str) -> ToolHands:
    folder, files = _found(place, given) if place.is_dir() else (place.parent, [place])
    if any(path.name in MESHES for path in files):
        return read_hold_results(folder, side, side_advice)
    hands = [path for path in files if path.suffix.lower() in SUFFIXES]
    if hands:
        return read_mano_records(hands, given, side, side_advice)
    pickled = [path.name for path in files if path.suffix.lower() in _RUNS_CODE]
    if pickled:
        raise InputError(
            f"{given}: holds {listed(pickled, 3)}, which are programs that run when they are read; save the same "
            f"numbers by np.savez or json.dump; {_ADVICE}"
        )
    raise InputError(f"{given}: holds {listed([path.name for path in files], 3)}; expected {EXPECTED}; {_ADVICE}")


@contextmanager
def _opened(given: Path) -> Iterator[Path]:
    """The folder or file, or a folder with what a zip archive holds."""
    if given.is_dir() or given.suffix.lower() != ".zip":
        if not given.is_dir():
            require_regular(given, "hand's file")
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="handloom_hands_") as folder:
        _unpack(given, Path(folder))
        yield Path(folder)


def _unpack(given: Path, folder: Path) -> None:
    """Unpack what is read of an archive.

    Raises InputError for one that is damaged, huge, encrypted or leads outside.
    """
    with (
        reading(given, f"a zip archive of {EXPECTED}", _ADVICE, most_bytes=_MOST_BYTES) as file,
        zipfile.ZipFile(file) as archive,
    ):
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        unpacked = sum(entry.file_size for entry in entries)
        if len(entries) > _MOST_FILES or unpacked > _MOST_BYTES:
            raise ValueError(
                f"{len(entries)} files of {unpacked / MEGABYTE:.0f} MB; at most {_MOST_FILES} of "
                f"{_MOST_BYTES / MEGABYTE:.0f} MB are unpacked"
            )
        if len({entry.filename for entry in entries}) < len(entries):
            raise ValueError("a file stands there twice")
        for entry in entries:
            name = PurePosixPath(entry.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts or ":" in entry.filename:
                raise ValueError(f"{entry.filename} leads out of the archive")
            if entry.flag_bits & 1:
                raise ValueError(f"{entry.filename} is encrypted")
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if name.suffix.lower() not in _TAKEN:
                place.touch()  # its name may be a picture's
                continue
            with archive.open(entry) as packed, place.open("wb") as plain:
                left = entry.file_size
                while block := packed.read(MEGABYTE):
                    left -= len(block)
                    if left < 0:
                        raise ValueError(f"{entry.filename} holds more than it claims")
                    plain.write(block)


def _found(folder: Path, given: Path) -> tuple[Path, list[Path]]:
    """Where in a folder the hands lie, and the files there: the folder itself, its processed/, or its only folder."""
    for _ in range(4):
        visible = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))
        files, folders = ([each for each in visible if each.is_dir() is kind] for kind in (False, True))
        known = [path for path in files if path.suffix.lower() in (*_TAKEN, *_RUNS_CODE)]
        inside = [each for each in folders if each.name == "processed"] or (folders if len(folders) == 1 else [])
        if known or not inside:
            for path in known:
                require_regular(path, "hand's file")
            if not visible or not files:
                raise InputError(
                    f"{given}: holds no files but {listed([each.name for each in folders], 3) or 'nothing'}; expected "
                    f"{EXPECTED}; {_ADVICE}"
                )
            return folder, known or files
        folder = inside[0]
    raise InputError(f"{given}: holds folders in folders; name the one with the files; {_ADVICE}")
