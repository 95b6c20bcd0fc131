"""`check`: which data sets, models and checkpoints are found, where the others belong, what they enable."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from handloom.datasets import HO3D, LABELLED, YCB_MODELS
from handloom.estimators.hands.registry import NETWORKS
from handloom.obstacles import (
    models_of,
    own_sequences,
    pair_obstacles,
    sequence_obstacles,
    stopping,
    weights_fault,
)
from handloom.runtime.assets import Asset
from handloom.runtime.config.footage import FootagePairSettings
from handloom.runtime.config.root import RunSettings
from handloom.runtime.config.sequences import SequenceSettings
from handloom.runtime.errors import InputError, listed, nearest
from handloom.runtime.places import place_of, preset_of_results
from handloom.runtime.user_files import Wanted, unfit

_FILES = ("sources.", "hold.interchange.", "hold.hand.", "hold.holdnet.", "footage.checkpoint", "mano")
LISTED = "`snakemake --cores 1 check` with the same --configfile lists all that is fetched by hand."
_UNFOLDED, _NAME_WIDTH = 1000, 38
_COLOURS = {"missing": "red", "ready": "green", "optional": "yellow"}
"""What an asset may be to a configuration, the most pressing first."""
RENDERED = "the demo renders its own in the same layout"


def assets(settings: RunSettings) -> list[Asset]:
    """Every asset, where `settings` name it or, in the demo, where it would go."""
    demo, estimation = settings.demo is not None, settings.hold.hand.estimation
    labelled = [
        Asset(
            row.of.name,
            f"datasets.{key}.root",
            str(Path(row.of.folder if demo else getattr(settings.datasets, key).root) / row.of.inside),
            *(row.of.licence, row.of.home, row.of.enables, RENDERED),
        )
        for key, row in LABELLED.items()
    ]
    networks = [asset for name, row in NETWORKS.items() for asset in row.assets(estimation.of(name))]
    return [*labelled, *networks, *_mano(settings), *_ho3d(settings), *_packages()]


def _mano(settings: RunSettings) -> list[Asset]:
    return [
        Asset(
            name,
            "mano",
            str(Path(settings.mano or "data/mano") / name),
            "MANO licence, non-commercial",
            "https://mano.is.tue.mpg.de",
            f"the {side} MANO hand in place of the embedded one",
            "the embedded CC0 hand",
        )
        for side, name in (("right", "MANO_RIGHT.pkl"), ("left", "MANO_LEFT.pkl"))
    ]


def _ho3d(settings: RunSettings) -> list[Asset]:
    """The configured sequences of HO3D-v3 and their objects' models; without any, where they would go."""
    own = {name: sequence for name, sequence in own_sequences(settings).items() if sequence.kind == "ho3d"}
    paths = {name: sequence.path for name, sequence in own.items()} or {"": HO3D.folder}
    models = sorted({str(models_of(sequence)) for sequence in own.values()}) or [YCB_MODELS.folder]
    named = [
        (HO3D, f"{HO3D.name} {name}".rstrip(), f"hold.sequences.{name}.path" if name else "hold.sequences", path)
        for name, path in paths.items()
    ]
    named += [(YCB_MODELS, YCB_MODELS.name, "hold.sequences", path) for path in models]
    return [
        Asset(name, setting, path, row.licence, row.home, row.enables, RENDERED) for row, name, setting, path in named
    ]


def _packages() -> list[Asset]:
    """What the user may install beside handloom."""
    return [
        Asset(
            "smplx (Python package)",
            "",
            "pip install -e '.[smplx]'",
            "MPI licence, non-commercial",
            "https://github.com/vchoutas/smplx",
            "comparing our hand layer with MANO's own",
            "handloom's own hand layer; only that comparison is skipped",
            package="smplx",
        ),
        Asset(
            "hloc (Python package)",
            "hold.sfm.backend",
            "pip install --no-deps git+https://github.com/cvg/Hierarchical-Localization",
            "Apache-2.0; its networks' weights have their own licences",
            "https://github.com/cvg/Hierarchical-Localization",
            "other features and matchers in structure from motion (hold.sfm.backend: hloc)",
            "SIFT by pycolmap",
            package="hloc",
        ),
        Asset(
            "sam2 (Python package)",
            "hold.sequences.*.masks.source",
            "pip install git+https://github.com/facebookresearch/sam2, and a checkpoint file",
            "Apache-2.0",
            "https://github.com/facebookresearch/sam2",
            "masks of your own videos by SAM 2 (masks.source: sam2)",
            "masks carried along from the same clicks or boxes (masks.source: propagation)",
            package="sam2",
        ),
    ]


def print_assets(settings: RunSettings, folder: Path, console: Console | None = None) -> None:
    """Print whether this configuration can run, a row a thing that it may read, then where each belongs and is from."""
    lacking = missing(settings, folder)
    # In a file or a pipe no line is folded: paths can be searched for.
    console = console or Console(width=None if sys.stdout.isatty() else _UNFOLDED)

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    verdict = "[red]what it needs is missing[/]" if lacking else "[green]all that it needs is there[/]"
    say(f"preset [bold]{settings.preset}[/] in {folder.resolve()}: {verdict}")
    needed = {line.partition(":")[0]: line for line in lacking}
    groups: dict[tuple[str, ...], list[Asset]] = {}
    for row in assets(settings):
        state = "ready" if row.found(folder) else "missing" if row.setting in needed else "optional"
        groups.setdefault((state, row.licence, row.home, row.without), []).append(row)
    ordered = sorted(groups.items(), key=lambda group: list(_COLOURS).index(group[0][0]))
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "what", "licence", "what runs without it"):
        table.add_column(heading, overflow="fold", min_width=_NAME_WIDTH if heading == "what" else None)
    for (state, licence, _, without), rows in ordered:
        name = _spanned([row.name for row in rows]).replace(", ", "\n")
        table.add_row(f"[{_COLOURS[state]}]{state}[/]", f"[bold]{name}[/]", licence, without)
    console.print(table)
    say("Where each belongs, and where it is from:")
    for (_, _, home, _), rows in ordered:
        place = escape(_spanned(dict.fromkeys(row.expected for row in rows)))
        say(f"  {place}  [cyan]{home}[/]" if rows[0].package is None else f"  {place}")
    known = {row.setting for row in assets(settings)}
    for line in [line for setting, line in needed.items() if setting not in known] + notices(settings, folder):
        say(escape(line))


def _spanned(names: Iterable[str]) -> str:
    """Up to two names, or the first and last of more."""
    names = list(names)
    return ", ".join(names) if len(names) <= 2 else f"{names[0]} ... {names[-1]} ({len(names)})"


def missing(settings: RunSettings, folder: Path) -> list[str]:
    """All that stands in the way of what this configuration names, one line each; what is rendered is made."""
    lines = []
    for name, source in {"in": settings.sources.in_, "cross": settings.sources.cross}.items():
        if name not in settings.trained_sources and source.checkpoint is not None:
            words = weights_fault(source.checkpoint, folder)
            lines += [f"sources.{name}.checkpoint: {words}; pretrain: true trains one"] if words else []
        elif name in settings.trained_sources and source.start is not None:
            words = weights_fault(source.start, folder)
            lines += [f"sources.{name}.start: {words}; null begins at random"] if words else []
    for name in sorted(settings.read_datasets) if settings.demo is None else ():
        words = unfit(getattr(settings.datasets, name).root, "folder", folder)
        lines += [f"datasets.{name}.root: {words}"] if words else []
    obstacles = [
        *(each for name in settings.hold.chosen for each in sequence_obstacles(settings, name, folder)),
        *(each for name in settings.footage.chosen for each in pair_obstacles(settings, name, folder)),
    ]
    return list(dict.fromkeys([*lines, *map(str, obstacles), *_missing_results(settings, folder)]))


def _missing_results(settings: RunSettings, folder: Path) -> list[str]:
    """Files of other methods that are named and not there."""
    return [
        f"hold.interchange.{method}.{name}: {words}"
        for (method, name), path in settings.hold.others.items()
        if (words := unfit(path, "file", folder))
    ]


def refuse_stopped(settings: RunSettings, folder: Path, section: str, name: str, stage: str) -> None:
    """Raise InputError when something stands before a stage of a sequence or camera pair: all of it, in its lines.

    What stands in the way of the section's other entries is told beside it. `section` is sequences or pairs.
    """
    named_entry(settings, section, name)
    of = {"sequences": sequence_obstacles, "pairs": pair_obstacles}[section]
    found = of(settings, name, folder)
    if not stopping(found, stage):
        return
    found += [each for other in _entries(settings, section)[1] if other != name for each in of(settings, other, folder)]
    rows = {row.setting: row for row in assets(settings) if row.package is None}
    lines = dict.fromkeys(f"  {each}{_from(rows.get(each.setting))}" for each in found)
    fetched = [f"  {LISTED}"] if any(each.setting in rows for each in found) else []
    raise InputError("\n".join(["refused before anything runs:", *lines, *fetched]))


def named_entry(settings: RunSettings, section: str, name: str) -> SequenceSettings | FootagePairSettings:
    """The settings of a sequence or camera pair; raises InputError for a name that no entry has, with those that do."""
    place, chosen = _entries(settings, section)
    if name not in chosen:
        close = nearest(name, chosen)
        meant = f"; did you mean {close}?" if close else "; add it there, or ask for one of those"
        raise InputError(f"{place}: has no {name}; it has {listed(list(chosen)) or 'none'}{meant}")
    return chosen[name]


def _entries(settings: RunSettings, section: str) -> tuple[str, Mapping[str, SequenceSettings | FootagePairSettings]]:
    """Where the entries that a user names stand, and those that are not left out."""
    if section == "sequences":
        return "hold.sequences", settings.hold.chosen
    return "footage.pairs", settings.footage.chosen


def _from(asset: Asset | None) -> str:
    return "" if asset is None else f"; fetch {asset.name} (licence: {asset.licence}) from {asset.home}"


def notices(settings: RunSettings, folder: Path) -> list[str]:
    """What a user should know before a run starts: settings that nothing reads, and where its results will be."""
    idle, place = unused(settings), place_of(settings.preset, folder)
    lines = [f"set, but not used: {', '.join(idle)}"] if idle else []
    if place:
        before = preset_of_results(folder)
        lines.append(
            f"results/ holds those of preset {before}; this run, of preset {settings.preset}, has its own in "
            f"{place}results/. To have it in results/ instead: mv results results_{before}"
        )
    return lines


def unused(settings: RunSettings) -> list[str]:
    """Sections that are set and that nothing reads in the chosen mode, each with why."""
    hold, found = settings.hold, []
    if hold.sfm.backend != "hloc" and _set(hold.sfm, "hloc"):
        found.append(f"hold.sfm.hloc (hold.sfm.backend is {hold.sfm.backend})")
    for field in ("compact", "holdnet"):
        if field != hold.field and _set(hold, field):
            found.append(f"hold.{field} (hold.field is {hold.field})")
    for name in NETWORKS:
        estimation = hold.hand.estimation
        read = {estimation.backend, settings.footage.backend}
        read |= {"files" for pair in settings.footage.chosen.values() if pair.left_hands or pair.right_hands}
        if name not in read and _set(estimation, name):
            found.append(f"hold.hand.estimation.{name} (the backend is {estimation.backend})")
    if hold.hand.estimation.backend == "files" and hold.hand.estimation.checkpoint is not None:
        found.append("hold.hand.estimation.checkpoint (the backend is files)")
    reads = {"propagation": ("prompts", "propagation"), "sam2": ("prompts", "sam2"), "files": ("files",), "dataset": ()}
    for name, sequence in hold.chosen.items():
        place, masks = f"hold.sequences.{name}", sequence.masks
        for key in ("prompts", "propagation", "sam2", "files"):
            if key not in reads[masks.source] and _set(masks, key):
                found.append(f"{place}.masks.{key} (masks.source is {masks.source})")
        if sequence.kind != "ho3d" and sequence.models is not None:
            found.append(f"{place}.models (kind is {sequence.kind})")
        if sequence.hand_files is not None and hold.hand.estimation.backend != "files":
            found.append(f"{place}.hand_files (hold.hand.estimation.backend is {hold.hand.estimation.backend})")
        if sequence.kind == "video" and _set(sequence, "frames_per_second"):
            found.append(f"{place}.frames_per_second (a video has its own)")
    if not settings.footage.chosen and _set(settings.footage, "checkpoint"):
        found.append("footage.checkpoint (footage.pairs names no camera pair)")
    return found


def _set(section: BaseModel, key: str) -> bool:
    """Whether a key is given, and not only as the default."""
    return key in section.model_fields_set and getattr(section, key) != type(section).model_fields[key].default


def handoccnet_lacks(settings: RunSettings, folder: Path) -> str:
    """What HandOccNet lacks to be shown beside other networks, in a few words; nothing when it is all there."""
    (row,) = NETWORKS["handoccnet"].assets(settings.hold.hand.estimation.of("handoccnet"))
    if not row.found(folder):
        return f"its weights ({row.expected}, from {row.home})"
    return "" if settings.mano else "the MANO hand (mano, from https://mano.is.tue.mpg.de)"


def require(settings: RunSettings, folder: Path, setting: str, paths: Sequence[str]) -> None:
    """Raise InputError when files that `setting` leads to are missing or unfit: which, whose, where to get it.

    What the demo renders by itself is never missing.
    """
    if settings.demo is not None and setting.startswith("datasets."):
        return
    wanted: Wanted = "file" if setting.startswith(_FILES) else "either"
    wrong = {path: words for path in paths if (words := unfit(path, wanted, folder))}
    if not wrong:
        return
    lacking, words = list(wrong), next(iter(wrong.values()))
    rows = [row for row in assets(settings) if row.setting == setting]
    if not rows:
        raise InputError(f"{setting}: {words}; correct it")
    asset = next((row for row in rows if row.expected == lacking[0]), rows[0])
    more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
    raise InputError(
        f"{setting}: {words}{more}; fetch {asset.name} (licence: {asset.licence}) from "
        f"{asset.home}, or correct {setting}. Without it: {asset.without}. "
        f"{LISTED}"
    )
