"""What stands in the way of a run, as far as settings, files' existence and headers tell: one line each.

An obstacle belongs to the first stage that it stops, so that a run is refused for what it asks for, and then told of
everything that comes later as well.
"""

import math
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from handloom.datasets.calibration import calibration_fault
from handloom.datasets.numbered_pictures import numbered_pictures
from handloom.datasets.picture_size import (
    PICTURES_INSIDE,
    frame_size,
    pictures_fault,
    planned_frames,
    source_size,
    video_fault,
)
from handloom.estimators.hands.registry import NETWORKS
from handloom.estimators.masks import SOURCES as MASK_SOURCES
from handloom.estimators.sfm import BACKENDS, colmap_model_fault
from handloom.hand.joints import SIDES, Side
from handloom.runtime.assets import PACKAGE_PREFIX, shipped_digest
from handloom.runtime.config.base import Faults
from handloom.runtime.config.root import RunSettings
from handloom.runtime.config.sequences import (
    FrameSettings,
    MaskFilesSettings,
    Prompt,
    SequenceKind,
    SequenceSettings,
    with_whole_keys,
)
from handloom.runtime.errors import InputError
from handloom.runtime.user_files import Wanted, unfit

if TYPE_CHECKING:
    from handloom.datasets.files_of_frames import Match
    from handloom.datasets.frames import Frames

STAGES = ("frames", "masks", "object_poses", "hand_estimates", "truth", "phases")
"""Of a sequence, in their order."""
_WANTED: dict[SequenceKind, Wanted] = {"video": "file", "frames": "folder", "ho3d": "folder", "build": "folder"}
_INSIDE: dict[SequenceKind, tuple[str, ...]] = {"ho3d": ("rgb", "meta"), "build": ("image", "data.npy")}
_MASKS_INSIDE: dict[SequenceKind, str] = {"ho3d": "seg", "build": "mask"}
_INSTALLED = {
    "sam2": "pip install git+https://github.com/facebookresearch/sam2, or set propagation",
    "hloc": "pip install --no-deps git+https://github.com/cvg/Hierarchical-Localization, or set pycolmap",
}


_VIEWS: tuple[Literal["left", "right"], ...] = ("left", "right")


class Obstacle(NamedTuple):
    """A setting, what is wrong with it, and the first stage that it stops."""

    setting: str
    words: str
    stage: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.words}"


def own_sequences(run: RunSettings) -> dict[str, SequenceSettings]:
    """HOLD's sequences that the demo does not render."""
    rendered = () if run.hold.demo is None else run.hold.demo.sequences
    return {name: sequence for name, sequence in run.hold.chosen.items() if name not in rendered}


def models_of(sequence: SequenceSettings) -> Path:
    """The folder of the models of an HO3D sequence's object."""
    return Path(sequence.path).parent.parent / "models" if sequence.models is None else Path(sequence.models)


def sequence_obstacles(run: RunSettings, name: str, folder: Path = Path()) -> list[Obstacle]:
    """Everything that stands in the way of one of HOLD's sequences, in the order of its stages."""
    sequence, own = run.hold.chosen[name], name in own_sequences(run)
    found = [
        *(_source(sequence, folder) if own else ()),
        *(_masks(sequence, folder, own=own) if sequence.kind != "build" else ()),
        *(_camera(sequence, folder / sequence.path) if own and _there(sequence, folder) else ()),
    ]
    place = f"hold.sequences.{name}"
    placed = [Obstacle(f"{place}.{each.setting}", with_whole_keys(each.words, place), each.stage) for each in found]
    placed += _poses(run, name, sequence, folder) if sequence.kind != "build" else ()
    if own and sequence.kind == "ho3d" and _there(sequence, folder) and not (folder / models_of(sequence)).is_dir():
        setting = f"hold.sequences.{name}.models"
        stage = "object_poses" if run.hold.sfm.backend == "known" else "truth"
        placed.append(Obstacle(setting, f"no folder {models_of(sequence)} of the objects' models; name it here", stage))
    if sequence.kind != "build":
        estimation = run.hold.hand.estimation
        placed += _hands(run, name, sequence, folder, own=own) if estimation.backend == "files" else ()
        advice = "backend: detnet needs no file of yours"
        placed += network_obstacles(
            run, "hold.hand.estimation", estimation.backend, estimation.checkpoint, advice, folder
        )
    if run.hold.field == "holdnet":
        paths = {"prior.checkpoint": run.hold.holdnet.prior.checkpoint}
        paths[f"checkpoints.{name}"] = run.hold.holdnet.checkpoints.get(name)
        placed += [
            Obstacle(f"hold.holdnet.{key}", words, "phases")
            for key, path in paths.items()
            if path is not None and (words := unfit(path, "file", folder))
        ]
    return sorted(placed, key=lambda each: STAGES.index(each.stage))


def pair_obstacles(run: RunSettings, name: str, folder: Path = Path()) -> list[Obstacle]:
    """Everything that stands in the way of one of the user's camera pairs."""
    pair, footage = run.footage.chosen[name], run.footage
    wanted: dict[str, Wanted] = {"left": "either", "right": "either", "left_boxes": "file", "right_boxes": "file"}
    wanted |= {"left_hands": "either", "right_hands": "either"}
    found = [
        Obstacle(f"footage.pairs.{name}.{key}", words, "frames")
        for key, what in wanted.items()
        if (path := getattr(pair, key)) is not None and (words := unfit(path, what, folder))
    ]
    stopped = {each.setting for each in found}
    for view in _VIEWS:
        path, setting = folder / getattr(pair, view), f"footage.pairs.{name}.{view}"
        if setting not in stopped and path.is_file() and (words := video_fault(path)):
            found.append(Obstacle(setting, words, "frames"))
        elif not stopped and path.is_dir():  # pictures are opened once all is there
            wrong = _pictures(pair.frames(view), view, getattr(pair, view), folder)
            found += [each._replace(setting=f"footage.pairs.{name}.{each.setting}") for each in wrong]
        elsewhere = _camera(pair.frames(view), path) if setting not in stopped else ()
        found += [Obstacle(f"{setting}_camera", each.words, "frames") for each in elsewhere]
        calibration = pair.calibration(view)
        if calibration is not None and (words := calibration_fault(folder / calibration)):
            found.append(Obstacle(f"{setting}_camera", f"is {words}", "frames"))
        hands = pair.hands(view)
        if hands is not None and f"{setting}_hands" not in stopped and pair.side != "auto":
            seen = pair.frames(view) if setting not in stopped else None
            fault = hands_fault(run, folder / hands, pair.side, seen, path)
            found += [Obstacle(f"{setting}_hands", fault, "hand_estimates")] if fault else ()
    advice = "give it, or choose the other backend"
    return found + network_obstacles(run, "footage", footage.backend, footage.checkpoint, advice, folder)


def network_obstacles(
    run: RunSettings, section: str, backend: str, checkpoint: str | None, advice: str, folder: Path = Path()
) -> list[Obstacle]:
    """A hand network's weights, where a section names its own file, else where the network has them."""
    name = NETWORKS[backend].weights
    if name is None:
        return []
    setting = f"hold.hand.estimation.{backend}.{name}" if checkpoint is None else f"{section}.checkpoint"
    path = getattr(run.hold.hand.estimation.of(backend), name) if checkpoint is None else checkpoint
    words = weights_fault(path, folder)
    return [Obstacle(setting, f"{words}; {advice}", "hand_estimates")] if words else []


def _hands(run: RunSettings, name: str, sequence: SequenceSettings, folder: Path, *, own: bool) -> Iterator[Obstacle]:
    """Why a sequence cannot have hands from files."""
    if sequence.hand_files is None:
        words = f"is files, but the sequence names none: set hold.sequences.{name}.hand_files to what the tool wrote"
        yield Obstacle("hold.hand.estimation.backend", words, "hand_estimates")
        return
    seen = sequence if own and _there(sequence, folder) else None
    given, path = folder / sequence.hand_files, folder / sequence.path
    fault = unfit(sequence.hand_files, "either", folder)
    for side in sequence.hands:
        fault = fault or hands_fault(run, given, side, seen, path)
    if fault is not None:
        yield Obstacle(f"hold.sequences.{name}.hand_files", fault, "hand_estimates")


def hands_fault(run: RunSettings, given: Path, side: Side, seen: FrameSettings | None, path: Path) -> str | None:
    """Why files of hands are none of the frames to come; None: nothing is known to be wrong.

    `seen` are the settings of the frames of `path`, or None where nothing is known of them.
    """
    planned = None
    if seen is not None and seen.kind != "video" and (size := frame_size(path, seen)) is not None:
        planned = planned_frames(path, seen, size, 0)
    return _hands_fault(given, side, run.hold.hand.estimation.of("files").match, run.mano is not None, planned)


@cache
def _hands_fault(given: Path, side: Side, match: "Match", with_mano: bool, planned: "Frames | None") -> str | None:
    # Read where it is asked: most runs are planned without.
    from handloom.estimators.files.hands import require_planned_hands

    try:
        require_planned_hands(given, side, match, planned, with_mano=with_mano)
    except InputError as error:
        return str(error)
    return None


def weights_fault(path: str, folder: Path = Path()) -> str | None:
    """What is wrong with a file of weights that is neither shipped nor fetched by a rule; None: nothing."""
    if path.startswith(PACKAGE_PREFIX):
        try:
            shipped_digest(path.removeprefix(PACKAGE_PREFIX))
        except InputError as error:
            return f"is {error}"
        return None
    fetched = any(path in row.by_rule for row in NETWORKS.values())
    return None if fetched else unfit(path, "file", folder)


def _source(sequence: SequenceSettings, folder: Path) -> Iterator[Obstacle]:
    path, kind = folder / sequence.path, sequence.kind
    words = unfit(sequence.path, _WANTED[kind], folder)
    if words is not None:
        if path.is_dir() and kind == "video":
            words += ", as kind is video; a folder of pictures is kind: frames"
        elif path.is_file() and kind != "video":
            words += f", as kind is {kind}; a video is kind: video"
        yield Obstacle("path", words, "frames")
        return
    if kind == "video" and (words := video_fault(path)):
        yield Obstacle("path", words, "frames")
    for inside in _INSIDE.get(kind, ()):
        if not (path / inside).exists():
            yield Obstacle(
                "path", f"leads to {sequence.path}, which holds no {inside}; expected a folder of kind {kind}", "frames"
            )
    if kind == "frames":
        yield from _pictures(sequence, "path", sequence.path, folder)
    if kind == "build" and (path / "data.npy").is_file() and (words := _built_hands_fault(path, sequence.hands)):
        yield Obstacle("hands", words, "frames")


@cache
def _built_hands_fault(build: Path, hands: tuple[Side, ...]) -> str | None:
    """Why a build folder is none of the hands that are asked for; one that cannot be read is told by its reader."""
    from handloom.runtime.pickled_npy import read_data

    try:
        entities = read_data(build / "data.npy").get("entities")
    except InputError:
        return None
    held = [side for side in ("right", "left") if isinstance(entities, dict) and side in entities]
    if not held or held == list(hands):
        return None
    found = f"is [{', '.join(hands)}], but {build} holds a {' and a '.join(held)} hand"
    return f"{found}; set it to [{', '.join(held)}]"


def _pictures(frames: FrameSettings, setting: str, path: str, folder: Path) -> Iterator[Obstacle]:
    """Why a folder's pictures cannot be frames, or fewer than two of them are used."""
    if words := pictures_fault(folder / path, (frames.chosen.start, frames.chosen.stop, frames.chosen.step)):
        yield Obstacle(setting, words, "frames")
        return
    count = len(numbered_pictures(folder / path))
    if len(range(count)[frames.chosen]) < 2:
        step = f", and every {frames.every}" if frames.skips else ""
        words = f"is {frames.first}{step}, but {path} holds {count} pictures; at least two are needed"
        yield Obstacle("first", words, "frames")


def _masks(sequence: SequenceSettings, folder: Path, *, own: bool) -> Iterator[Obstacle]:
    masks = sequence.masks
    source = MASK_SOURCES[masks.source]
    given = None
    for asked in (source.given, source.arguments):
        try:
            answer = asked(sequence)
            given = answer if isinstance(answer, tuple) else given
        except Faults as faults:
            yield from (Obstacle(*each, "masks") for each in dict.fromkeys(faults.faults))
            if masks.source == "files":
                return
    if masks.source == "sam2" and find_spec("sam2") is None:
        yield Obstacle(
            "masks.source", f"is sam2, a Python package that is not installed; {_INSTALLED['sam2']}", "masks"
        )
    if given is not None and given[0] != "path":
        words = unfit(given[1], "file" if masks.source == "sam2" else "folder", folder)
        if words:
            yield Obstacle(given[0], words, "masks")
    inside = _MASKS_INSIDE.get(sequence.kind)
    if masks.source == "dataset" and inside and own and (folder / sequence.path).is_dir():
        where = folder / sequence.path / inside
        if not where.is_dir():
            yield Obstacle(
                "path", f"leads to {sequence.path}, which has no masks in {inside}; fetch them, too", "masks"
            )
    if masks.source in ("propagation", "sam2") and masks.marks:
        yield from _marks(sequence, folder)
    if masks.source == "files" and masks.files is not None:
        wrong = [*_convention(sequence, folder)]
        yield from wrong
        if not wrong and own and (folder / masks.files.folder).is_dir():
            yield from _mask_files(sequence, masks.files, folder)


def _convention(sequence: SequenceSettings, folder: Path) -> Iterator[Obstacle]:
    files = sequence.masks.files
    assert files is not None
    if files.convention == "labels":
        return
    named = getattr(files, files.convention)
    setting = f"masks.files.{files.convention}"
    lacking = [entity for entity in ("object", *sequence.hands) if entity not in named]
    if lacking:
        needed = f"HOLD needs the object and the {' and the '.join(sequence.hands)} hand (hands)"
        yield Obstacle(setting, f"names no {' and no '.join(lacking)}; {needed}", "masks")
    root = folder / files.folder
    for entity, inside in files.entity_folders.items() if files.convention == "entity_folders" else ():
        where = Path(files.folder) / inside
        where = where.parent if "*" in where.name else where  # a pattern of files
        words = unfit(where, "folder", folder) if root.is_dir() else None
        if words:
            yield Obstacle(f"{setting}.{entity}", words, "masks")


def _mask_files(sequence: SequenceSettings, files: MaskFilesSettings, folder: Path) -> Iterator[Obstacle]:
    """Mask files that are the pictures themselves, or that names and headers tell not to be the frames'."""
    root, pictures = folder / files.folder, folder / sequence.path / PICTURES_INSIDE.get(sequence.kind, "")
    if root.resolve() == pictures.resolve():
        words = f"is {files.folder}, the folder of the pictures themselves; name the one that holds their masks"
        yield Obstacle("masks.files.folder", words, "masks")
        return
    size = frame_size(folder / sequence.path, sequence) if _there(sequence, folder) else None
    if size is None:
        return
    from handloom.estimators.masks.mask_files import require_planned

    try:
        require_planned(
            root,
            files,
            lambda most: planned_frames(folder / sequence.path, sequence, size, most),
            sure=1 if sequence.every == "auto" else 2,
        )
    except InputError as error:
        yield Obstacle("masks.files", str(error), "masks")


def _marks(sequence: SequenceSettings, folder: Path) -> Iterator[Obstacle]:
    """Marks on frames that are not used, outside the frame, in shares of its sides, and without the sequence's hand."""
    marks, several = sequence.masks.marks, isinstance(sequence.masks.prompts, tuple)
    size = frame_size(folder / sequence.path, sequence) if _there(sequence, folder) else None
    used = _most_frames(sequence, folder)
    for number, prompts in enumerate(marks):
        setting = f"masks.prompts.{number}" if several else "masks.prompts"
        if prompts.frame >= used:
            unused = f"is {prompts.frame}, but only {used} frames are used, numbered from 0 (first, every, most)"
            yield Obstacle(f"{setting}.frame", unused, "masks")
        for entity, prompt in prompts.marked.items():
            words = _misplaced(prompt, size)
            if words:
                yield Obstacle(f"{setting}.{entity}.{_kind(prompt)}", words, "masks")
    marked = [side for side in SIDES if any(side in prompts.marked for prompts in marks)]
    for side in sequence.hands:
        if side in marked:
            continue
        words = f"is not marked, but it holds the object (hands: [{', '.join(sequence.hands)}]); mark it"
        if marked:
            words += f", or, as a {' and a '.join(marked)} hand is marked, set hands: [{', '.join(marked)}]"
        yield Obstacle(f"masks.prompts.{side}", words, "masks")


def _most_frames(sequence: SequenceSettings, folder: Path) -> int | float:
    """How many frames are used at most: a folder's pictures are counted, a video's are not known before it is read."""
    stop = sequence.chosen.stop
    most = math.inf if stop is None else len(range(stop)[sequence.chosen])
    if sequence.kind != "frames" or not _there(sequence, folder):
        return most
    try:
        count = len(numbered_pictures(folder / sequence.path))
    except InputError:  # told as what stops the frames
        return most
    return len(range(count)[sequence.chosen])


def _there(sequence: SequenceSettings, folder: Path) -> bool:
    return unfit(sequence.path, _WANTED[sequence.kind], folder) is None


def _kind(prompt: Prompt) -> str:
    return "click" if prompt.click else "box" if prompt.box else "outline"


def _misplaced(prompt: Prompt, size: tuple[int, int] | None) -> str | None:
    """Why a mark is not on the frame; None if it is, as far as the frame's size is known."""
    corners = prompt.outline or (
        (prompt.click,) if prompt.click else (prompt.box[:2], prompt.box[2:]) if prompt.box else ()
    )
    across, down = [corner[0] for corner in corners], [corner[1] for corner in corners]
    shown = [list(corner) for corner in corners] if prompt.outline else list(prompt.click or prompt.box or ())
    shares = all(0 <= value <= 1 for value in (*across, *down))
    if shares and (len(corners) > 1 or any(value % 1 for value in (*across, *down))):
        return f"{shown} are shares of the frame's sides, it seems; give columns and rows, in pixels"
    if size is None:
        return None
    if max(across) < 0 or max(down) < 0 or min(across) > size[0] - 1 or min(down) > size[1] - 1:
        return f"{shown} lies outside the frames of {size[0]} x {size[1]} pixels; give columns and rows of those"
    if prompt.box and min(across) <= 0 and min(down) <= 0 and max(across) >= size[0] - 1 and max(down) >= size[1] - 1:
        return (
            f"{shown} is the whole frame of {size[0]} x {size[1]} pixels; a box needs background around what it marks"
        )
    # Some pixels beyond the edge are drawn by hand; much more belongs to a frame of another size.
    if max(across) > 1.1 * size[0] or max(down) > 1.1 * size[1]:
        return f"{shown} reaches beyond the frames of {size[0]} x {size[1]} pixels; give columns and rows of those"
    return None


def _camera(frames: FrameSettings, path: Path) -> Iterator[Obstacle]:
    """Why given intrinsics are not those of the frames."""
    size = source_size(path, frames.kind) if frames.camera_px else None
    if frames.camera_px is None or size is None:
        return
    focal_x, focal_y, centre_x, centre_y = frames.camera_px
    shown = f"the frames have {size[0]} x {size[1]} pixels as they come"
    if not (0 <= centre_x <= size[0] and 0 <= centre_y <= size[1]):
        yield Obstacle("camera_px", f"has its centre at {centre_x:g}, {centre_y:g}, but {shown}", "object_poses")
    if not all(0.2 < focal / max(size) < 50 for focal in (focal_x, focal_y)):
        yield Obstacle("camera_px", f"has focal lengths {focal_x:g}, {focal_y:g}, but {shown}", "object_poses")


def _poses(run: RunSettings, name: str, sequence: SequenceSettings, folder: Path) -> Iterator[Obstacle]:
    """What structure from motion lacks, and the hand model that stages take from MANO."""
    sfm = run.hold.sfm
    try:
        BACKENDS[sfm.backend].arguments(sfm, sequence)
    except Faults as faults:
        yield from (
            Obstacle(where, f"{words} (hold.sequences.{name})", "object_poses") for where, words in faults.faults
        )
    if sfm.backend == "colmap_model" and sequence.colmap_model is not None:
        setting = f"hold.sequences.{name}.colmap_model"
        words = unfit(sequence.colmap_model, "folder", folder) or colmap_model_fault(folder / sequence.colmap_model)
        yield from [Obstacle(setting, words, "object_poses")] if words else ()
    if sfm.backend == "hloc" and find_spec("hloc") is None:
        words = f"is hloc, a Python package that is not installed; {_INSTALLED['hloc']}"
        yield Obstacle("hold.sfm.backend", words, "object_poses")
    if run.mano is not None:
        for side in ("RIGHT", "LEFT"):
            wrong = unfit(Path(run.mano) / f"MANO_{side}.pkl", "file", folder)
            if wrong:
                yield Obstacle("mano", f"{wrong}; null uses the embedded hand", "hand_estimates")


def stopping(obstacles: Iterable[Obstacle], stage: str) -> bool:
    """Whether one of them stops a stage or one before it."""
    return any(STAGES.index(each.stage) <= STAGES.index(stage) for each in obstacles)
