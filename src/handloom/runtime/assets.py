"""What has to be fetched by hand: data sets, checkpoints, the MANO model; where it belongs, what it is good for."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from handloom.runtime.config.hold import HoldSequenceSettings
from handloom.runtime.config.mediapipe import LANDMARKS_FILE, PALMS_FILE
from handloom.runtime.config.root import RunSettings
from handloom.runtime.errors import InputError

PACKAGE_DATA = Path(__file__).parents[1] / "data"
PACKAGE_PREFIX = "package:"
METRO_SETTING = "hold.hand.estimation.metro.checkpoint"
HANDOCCNET_SETTING = "hold.hand.estimation.handoccnet.checkpoint"
MEDIAPIPE_SETTING = "hold.hand.estimation.mediapipe"


@dataclass(frozen=True)
class Asset:
    """One thing a user may have: where it is looked for, whether it is there, and what it changes."""

    name: str
    setting: str
    """The key of the configuration that leads to it."""
    expected: str
    found: bool
    licence: str
    home: str
    enables: str
    without: str


def checkpoint_path(checkpoint: str) -> Path:
    """The file that a `checkpoint` setting names; `package:NAME` lies in the package's own data folder."""
    return (
        PACKAGE_DATA / checkpoint.removeprefix(PACKAGE_PREFIX)
        if checkpoint.startswith(PACKAGE_PREFIX)
        else Path(checkpoint)
    )


def assets(settings: RunSettings, folder: Path) -> list[Asset]:
    """Every asset, looked for where `settings` name it or, in the demo, where it would go."""
    demo = settings.demo is not None
    roots = {
        "assembly_hands": Path("data/assemblyhands" if demo else settings.datasets.assembly_hands.root),
        "rhd": Path("data/RHD" if demo else settings.datasets.rhd.root),
        "ganerated": Path("data/GANeratedHands_Release" if demo else settings.datasets.ganerated.root),
    }
    mano = Path(settings.mano) if settings.mano else Path("data/mano")
    rendered = "the demo renders its own in the same layout"

    def asset(name: str, setting: str, path: Path, licence: str, home: str, enables: str, without: str) -> Asset:
        return Asset(name, setting, str(path), (folder / path).exists(), licence, home, enables, without)

    return [
        asset(
            "AssemblyHands-ego",
            "datasets.assembly_hands.root",
            roots["assembly_hands"] / "annotations",
            "CC BY-NC 4.0",
            "https://assemblyhands.github.io",
            "adaptation and tables on real headsets",
            rendered,
        ),
        asset(
            "Rendered Hand Pose (RHD)",
            "datasets.rhd.root",
            roots["rhd"] / "RHD_published_v2",
            "research only",
            "https://lmb.informatik.uni-freiburg.de/resources/datasets/RenderedHandposeDataset.en.html",
            "training the cross-dataset source network",
            rendered,
        ),
        asset(
            "GANerated Hands",
            "datasets.ganerated.root",
            roots["ganerated"] / "data",
            "research only",
            "https://handtracker.mpi-inf.mpg.de/projects/GANeratedHands",
            "training the cross-dataset source network",
            rendered,
        ),
        *(
            asset(
                f"DetNet checkpoint {number}",
                f"sources.{key}.checkpoint",
                Path(f"data/checkpoints/ckp_detnet_{number}.pth"),
                "CC BY-NC 4.0",
                "https://github.com/ut-vision/S2DHand",
                f"the paper's own {setting} source network",
                "shipped small networks (demo), or training one (pretrain: true)",
            )
            for number, key, setting in ((37, "in", "in-dataset"), (68, "cross", "cross-dataset"))
        ),
        asset(
            "METRO hand checkpoint (metro_hand_state_dict.bin)",
            METRO_SETTING,
            Path(settings.hold.hand.estimation.metro.checkpoint),
            "see its page, whose download has not worked since 2025; a copy of the file serves",
            "https://github.com/microsoft/MeshTransformer",
            "HOLD's hand estimates by METRO (hold.hand.estimation.backend: metro, with mano)",
            "the shipped DetNet (hold.hand.estimation.backend: detnet)",
        ),
        asset(
            "HandOccNet demo checkpoint (snapshot_demo.pth.tar)",
            HANDOCCNET_SETTING,
            Path(settings.hold.hand.estimation.handoccnet.checkpoint),
            "none is stated; holds arrays of MANO, so under its licence too",
            "https://github.com/namepllet/HandOccNet",
            "with mano: HOLD's hand estimates by HandOccNet (hold.hand.estimation.backend: handoccnet), and its column "
            "in S2DHand's picture of hands",
            "the shipped DetNet (hold.hand.estimation.backend: detnet); the picture without it",
        ),
        *(
            asset(
                f"MediaPipe's {network} ({Path(path).name})",
                f"{MEDIAPIPE_SETTING}.{name}",
                Path(path),
                "Apache-2.0",
                "https://pypi.org/project/mediapipe/0.10.21/",
                f"{use}; "
                + ("fetched by its rule, fetch_mediapipe" if path in (LANDMARKS_FILE, PALMS_FILE) else "your own file"),
                "the shipped DetNet (backend: detnet), which knows rendered hands only",
            )
            for network, name, path, use in (
                (
                    "hand landmark network",
                    "landmarks",
                    settings.hold.hand.estimation.mediapipe.landmarks,
                    "joints of real hands: HOLD (hold.hand.estimation.backend: mediapipe), your own camera pairs",
                ),
                (
                    "palm detector",
                    "palms",
                    settings.hold.hand.estimation.mediapipe.palms,
                    "finding the hand in your own camera pairs, without boxes",
                ),
            )
        ),
        *(
            asset(
                name,
                "mano",
                mano / name,
                "MANO licence, non-commercial",
                "https://mano.is.tue.mpg.de",
                f"the {side} MANO hand in place of the embedded one",
                "the embedded CC0 hand",
            )
            for side, name in (("right", "MANO_RIGHT.pkl"), ("left", "MANO_LEFT.pkl"))
        ),
        *_ho3d(settings, folder),
        *_packages(),
    ]


def _own_sequences(settings: RunSettings) -> dict[str, HoldSequenceSettings]:
    """HOLD's sequences that the demo does not render."""
    rendered = () if settings.hold.demo is None else settings.hold.demo.sequences
    return {name: sequence for name, sequence in settings.hold.chosen.items() if name not in rendered}


def _models_of(sequence: HoldSequenceSettings) -> Path:
    return Path(sequence.path).parent.parent / "models" if sequence.models is None else Path(sequence.models)


def _ho3d(settings: RunSettings, folder: Path) -> list[Asset]:
    """The configured sequences of HO3D-v3 and their objects' models; without any, where they would go."""
    own = {name: sequence for name, sequence in _own_sequences(settings).items() if sequence.kind == "ho3d"}
    paths = {name: Path(sequence.path) for name, sequence in own.items()} or {"": Path("data/HO3D_v3/train")}
    models = sorted({_models_of(sequence) for sequence in own.values()}) or [Path("data/HO3D_v3/models")]
    rendered = "the demo renders its own in the same layout"
    return [
        *(
            Asset(
                f"HO3D-v3 {name}".rstrip(),
                f"hold.sequences.{name}.path" if name else "hold.sequences",
                str(path),
                (folder / path).exists(),
                "academic research only, non-commercial",
                "https://www.tugraz.at/index.php?id=40231",
                "HOLD's reconstruction and table on real videos",
                rendered,
            )
            for name, path in paths.items()
        ),
        *(
            Asset(
                "YCB-Video 3D models",
                "hold.sequences",
                str(path),
                (folder / path).exists(),
                "see its page",
                "https://rse-lab.cs.washington.edu/projects/posecnn",
                "scores of HO3D-v3 sequences; HO3D's own object poses (sfm.backend: known)",
                rendered,
            )
            for path in models
        ),
    ]


def _packages() -> list[Asset]:
    """What the user may install beside handloom."""

    def package(name: str, setting: str, install: str, licence: str, home: str, enables: str, without: str) -> Asset:
        found = find_spec(name) is not None
        return Asset(f"{name} (Python package)", setting, install, found, licence, home, enables, without)

    return [
        package(
            "smplx",
            "",
            "pip install -e '.[smplx]'",
            "MPI licence, non-commercial",
            "https://github.com/vchoutas/smplx",
            "comparing our hand layer with MANO's own",
            "handloom's own hand layer; only that comparison is skipped",
        ),
        package(
            "hloc",
            "hold.sfm.backend",
            "pip install --no-deps git+https://github.com/cvg/Hierarchical-Localization",
            "Apache-2.0; its networks' weights have their own licences",
            "https://github.com/cvg/Hierarchical-Localization",
            "other features and matchers in structure from motion (hold.sfm.backend: hloc)",
            "SIFT by pycolmap",
        ),
        package(
            "sam2",
            "hold.sequences.*.masks.source",
            "pip install git+https://github.com/facebookresearch/sam2, and a checkpoint file",
            "Apache-2.0",
            "https://github.com/facebookresearch/sam2",
            "masks of your own videos by SAM 2 (masks.source: sam2)",
            "masks carried along from the same clicks or boxes (masks.source: propagation)",
        ),
    ]


def print_assets(settings: RunSettings, folder: Path, console: Console | None = None) -> None:
    """Print one row per asset, then what this configuration still lacks."""
    rows = assets(settings, folder)
    table = Table(show_lines=True)
    for heading in ("asset", "expected at, licence, home page", "what it enables; what runs without"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        found = "[green]found[/]" if row.found else "[yellow]not found[/]"
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
        if settings.pretrain or source.checkpoint is None:
            wanted |= set(source.datasets)
        elif not (path := folder / checkpoint_path(source.checkpoint)).is_file():
            lines.append(f"sources.{name}.checkpoint: no file {path}; null, or pretrain: true, trains one")
    for name in sorted(wanted) if settings.demo is None else ():
        root = getattr(settings.datasets, name).root
        if not (folder / root).is_dir():
            lines.append(f"datasets.{name}.root: no folder {root}")
    if settings.mano is not None and not (folder / settings.mano / "MANO_RIGHT.pkl").is_file():
        lines.append(f"mano: no MANO_RIGHT.pkl in {settings.mano}; null uses the embedded hand")
    return lines + _missing_sequences(settings, folder) + _missing_footage(settings, folder)


def handoccnet_lacks(settings: RunSettings, folder: Path) -> str:
    """What HandOccNet lacks to be shown beside other networks, in a few words; nothing when it is all there."""
    row = next(row for row in assets(settings, folder) if row.setting == HANDOCCNET_SETTING)
    if not row.found:
        return f"its weights ({row.expected}, from {row.home})"
    return "" if settings.mano else "the MANO hand (mano, from https://mano.is.tue.mpg.de)"


def _missing_footage(settings: RunSettings, folder: Path) -> list[str]:
    """Views and boxes of the user's camera pairs, and DetNet's checkpoint for them."""
    lines = [
        f"footage.pairs.{name}.{key}: no {path}"
        for name, pair in settings.footage.chosen.items()
        for key in ("left", "right", "left_boxes", "right_boxes")
        if (path := getattr(pair, key)) is not None and not (folder / path).exists()
    ]
    checkpoint = folder / checkpoint_path(settings.footage.checkpoint)
    if settings.footage.chosen and settings.footage.backend == "detnet" and not checkpoint.is_file():
        lines.append(f"footage.checkpoint: no file {checkpoint}; backend: mediapipe needs none")
    return lines


def _missing_sequences(settings: RunSettings, folder: Path) -> list[str]:
    own = _own_sequences(settings)
    absent = {name: sequence.path for name, sequence in own.items() if not (folder / sequence.path).exists()}
    lines = [f"hold.sequences: no {', '.join(absent.values())}"] if absent else []
    models = sorted({_models_of(sequence) for sequence in own.values() if sequence.kind == "ho3d"})
    lines += [f"hold.sequences: no folder {path} of models" for path in models if not (folder / path).is_dir()]
    estimation = settings.hold.hand.estimation
    fetched = {
        "metro": (METRO_SETTING, estimation.metro.checkpoint),
        "handoccnet": (HANDOCCNET_SETTING, estimation.handoccnet.checkpoint),
    }
    if estimation.backend in fetched:
        setting, checkpoint = fetched[estimation.backend]
        if settings.hold.chosen and not (folder / checkpoint).is_file():
            lines.append(f"{setting}: no file {checkpoint}; backend: detnet needs none")
    elif estimation.backend == "mediapipe":
        network = estimation.mediapipe.landmarks
        if settings.hold.chosen and network != LANDMARKS_FILE and not (folder / network).is_file():
            lines.append(f"{MEDIAPIPE_SETTING}.landmarks: no file {network}; its default is fetched by a rule")
    elif own and not (path := folder / checkpoint_path(estimation.checkpoint)).is_file():
        lines.append(f"hold.hand.estimation.checkpoint: no file {path}")
    return lines


def require(settings: RunSettings, folder: Path, setting: str, paths: Sequence[str]) -> None:
    """Raise InputError when files that `setting` leads to are missing: which, what they belong to, where to get it.

    What the demo renders by itself is never missing.
    """
    lacking = [path for path in paths if not (folder / path).exists()]
    if not lacking or (settings.demo is not None and setting.startswith("datasets.")):
        return
    rows = [row for row in assets(settings, folder) if row.setting == setting]
    if not rows:
        raise InputError(f"{lacking[0]}: not found, but {setting} leads there; correct {setting}")
    asset = next((row for row in rows if row.expected == lacking[0]), rows[0])
    more = f" ({len(lacking) - 1} more are missing)" if len(lacking) > 1 else ""
    unlabelled = setting == "datasets.assembly_hands.root" and settings.datasets.assembly_hands.split == "test"
    raise InputError(
        f"{lacking[0]}: not found{more}, but {setting} leads there; fetch {asset.name} (licence: {asset.licence}) from "
        f"{asset.home}, or correct {setting}. Without it: {asset.without}. "
        + ("The published test split has no labels: set datasets.assembly_hands.split to val. " if unlabelled else "")
        + "`snakemake --cores 1 check` with the same --configfile lists all that is fetched by hand."
    )
