"""`check`: which data sets, models and checkpoints are found, where the others belong, what they enable."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from handloom.datasets import HO3D, LABELLED, YCB_MODELS
from handloom.estimators.hands.registry import NETWORKS
from handloom.runtime.assets import Asset, checkpoint_path
from handloom.runtime.config.root import RunSettings
from handloom.runtime.config.sequences import SequenceSettings
from handloom.runtime.errors import InputError

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


def _own_sequences(settings: RunSettings) -> dict[str, SequenceSettings]:
    """HOLD's sequences that the demo does not render."""
    rendered = () if settings.hold.demo is None else settings.hold.demo.sequences
    return {name: sequence for name, sequence in settings.hold.chosen.items() if name not in rendered}


def _models_of(sequence: SequenceSettings) -> Path:
    return Path(sequence.path).parent.parent / "models" if sequence.models is None else Path(sequence.models)


def _ho3d(settings: RunSettings) -> list[Asset]:
    """The configured sequences of HO3D-v3 and their objects' models; without any, where they would go."""
    own = {name: sequence for name, sequence in _own_sequences(settings).items() if sequence.kind == "ho3d"}
    paths = {name: sequence.path for name, sequence in own.items()} or {"": HO3D.folder}
    models = sorted({str(_models_of(sequence)) for sequence in own.values()}) or [YCB_MODELS.folder]
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
    """Print one row per asset, then what this configuration still lacks."""
    rows = assets(settings)
    table = Table(show_lines=True)
    for heading in ("asset", "expected at, licence, home page", "what it enables; what runs without"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        found = "[green]found[/]" if row.found(folder) else "[yellow]not found[/]"
        table.add_row(
            f"{row.name}\n{found}",
            f"{escape(row.expected)}\n{row.licence}\n{row.home}",
            f"{row.enables};\nwithout: {row.without}",
        )
    console = console or Console()
    console.print(f"preset [bold]{settings.preset}[/], looked for in {folder.resolve()}", highlight=False)
    console.print(table)
    lacking = missing(settings, folder)
    if not lacking:
        console.print("Nothing that this preset needs is missing.")
    for line in lacking:
        console.print(f"missing: {line}", highlight=False, soft_wrap=True)


def missing(settings: RunSettings, folder: Path) -> list[str]:
    """What this configuration names and is not there, one line each; rendered data are made when needed."""
    lines = []
    sources = {"in": settings.sources.in_, "cross": settings.sources.cross}
    wanted = {"assembly_hands"}
    for name, source in sources.items():
        if source.network == "detnet" and (settings.pretrain or source.checkpoint is None):
            wanted |= set(source.datasets)
        elif source.checkpoint is not None:
            lines += _lacking(folder, f"sources.{name}.checkpoint", source.checkpoint, "pretrain: true trains one")
    for name in sorted(wanted) if settings.demo is None else ():
        root = getattr(settings.datasets, name).root
        if not (folder / root).is_dir():
            lines.append(f"datasets.{name}.root: no folder {root}")
    if settings.mano is not None and not (folder / settings.mano / "MANO_RIGHT.pkl").is_file():
        lines.append(f"mano: no MANO_RIGHT.pkl in {settings.mano}; null uses the embedded hand")
    return lines + _missing_sequences(settings, folder) + _missing_footage(settings, folder)


def _lacking(folder: Path, setting: str, path: str, advice: str) -> list[str]:
    """A line for a file that is neither there nor fetched by a rule."""
    fetched = any(path in row.by_rule for row in NETWORKS.values())
    there = fetched or (folder / checkpoint_path(path)).is_file()
    return [] if there else [f"{setting}: no file {path}; {advice}"]


def _missing_network(
    settings: RunSettings, folder: Path, section: str, backend: str, checkpoint: str | None, advice: str
) -> list[str]:
    """A hand network's weights, where a section names its own file, else where the network has them."""
    if checkpoint is not None:
        return _lacking(folder, f"{section}.checkpoint", checkpoint, advice)
    name = NETWORKS[backend].weights
    path = getattr(settings.hold.hand.estimation.of(backend), name)
    return _lacking(folder, f"hold.hand.estimation.{backend}.{name}", path, advice)


def handoccnet_lacks(settings: RunSettings, folder: Path) -> str:
    """What HandOccNet lacks to be shown beside other networks, in a few words; nothing when it is all there."""
    (row,) = NETWORKS["handoccnet"].assets(settings.hold.hand.estimation.of("handoccnet"))
    if not row.found(folder):
        return f"its weights ({row.expected}, from {row.home})"
    return "" if settings.mano else "the MANO hand (mano, from https://mano.is.tue.mpg.de)"


def _missing_footage(settings: RunSettings, folder: Path) -> list[str]:
    """Views and boxes of the user's camera pairs, and the weights of their network."""
    footage = settings.footage
    lines = [
        f"footage.pairs.{name}.{key}: no {path}"
        for name, pair in footage.chosen.items()
        for key in ("left", "right", "left_boxes", "right_boxes")
        if (path := getattr(pair, key)) is not None and not (folder / path).exists()
    ]
    advice = "give it, or choose the other backend"
    network = _missing_network(settings, folder, "footage", footage.backend, footage.checkpoint, advice)
    return lines + (network if footage.chosen else [])


def _missing_sequences(settings: RunSettings, folder: Path) -> list[str]:
    own = _own_sequences(settings)
    absent = {name: sequence.path for name, sequence in own.items() if not (folder / sequence.path).exists()}
    lines = [f"hold.sequences: no {', '.join(absent.values())}"] if absent else []
    models = sorted({_models_of(sequence) for sequence in own.values() if sequence.kind == "ho3d"})
    lines += [f"hold.sequences: no folder {path} of models" for path in models if not (folder / path).is_dir()]
    estimation = settings.hold.hand.estimation
    network = _missing_network(
        settings,
        folder,
        "hold.hand.estimation",
        estimation.backend,
        estimation.checkpoint,
        "backend: detnet needs no file of yours",
    )
    return lines + (network if settings.hold.chosen else [])


def require(settings: RunSettings, folder: Path, setting: str, paths: Sequence[str]) -> None:
    """Raise InputError when files that `setting` leads to are missing: which, what they belong to, where to get it.

    What the demo renders by itself is never missing.
    """
    lacking = [path for path in paths if not (folder / path).exists()]
    if not lacking or (settings.demo is not None and setting.startswith("datasets.")):
        return
    rows = [row for row in assets(settings) if row.setting == setting]
    if not rows:
        raise InputError(f"{lacking[0]}: not found, but {setting} leads there; correct {setting}")
    asset = next((row for row in rows if row.expected == lacking[0]), rows[0])
    more = f" ({len(lacking) - 1} more are missing)" if len(lacking) > 1 else ""
    raise InputError(
        f"{lacking[0]}: not found{more}, but {setting} leads there; fetch {asset.name} (licence: {asset.licence}) from "
        f"{asset.home}, or correct {setting}. Without it: {asset.without}. "
        "`snakemake --cores 1 check` with the same --configfile lists all that is fetched by hand."
    )
