"""The checked configuration, the wildcards' values, and the functions that rules share."""

import sys
from pathlib import Path

# The workflow runs the code that lies beside it, installed or not.
SOURCE = Path(workflow.current_basedir).parents[1] / "src"
sys.path.insert(0, str(SOURCE))

from handloom.datasets.assembly_hands import annotation_files
from handloom.demo.sequences import assembly_sequences
from handloom.runtime.assets import checkpoint_path, require
from handloom.runtime.code_digest import code_digest
from handloom.runtime.config.load import settings_from
from handloom.runtime.config.mediapipe import LANDMARKS_FILE, PALMS_FILE
from handloom.runtime.errors import InputError
from handloom.runtime.files import require_writable
from handloom.runtime.job import hand_down_source
from handloom.runtime.stages import stage

hand_down_source(SOURCE)

RUN = settings_from(config)
GPUS = 0 if RUN.device == "cpu" else 1
DATASETS = RUN.datasets
SPLIT = DATASETS.assembly_hands.split
SOURCES = {"in": RUN.sources.in_, "cross": RUN.sources.cross}
TRAINED = [name for name, source in SOURCES.items() if RUN.pretrain or source.checkpoint is None]
SETTINGS = list(SOURCES)
SHEETS_OF = {"assembly_hands": ["assembly_hands_train"], "rhd": ["rhd_training"], "ganerated": ["ganerated"]}
# Training sets are rendered only when something is trained; their sheets can be asked for by name at any time.
DEMO_SHEETS = ["assembly_hands_val"] + [
    sheet for name in TRAINED for dataset in SOURCES[name].datasets for sheet in SHEETS_OF[dataset]
]
VARIANTS = ["s2dhand", "s2dhand_sync"]
CAMERAS = [1, 2, 3, 4]
ENVIRONMENT = "../../envs/handloom.yaml"
FIGURES = [
    *(
        f"results/figures/s2d_{name}.png"
        for name in ("qualitative", "qualitative_in", "adaptation_curves", "rotation_error")
    ),
    *(["results/figures/s2d_pretraining_curves.png"] if TRAINED else []),
    *(f"results/figures/demo/{name}.png" for name in DEMO_SHEETS if RUN.demo is not None),
]


wildcard_constraints:
    setting="in|cross",
    headset="headset1|headset2",
    camera="[1-4]",
    pair="[1-4]-[1-4]",
    variant="s2dhand|s2dhand_sync",
    split="train|val|test",
    seed="[0-9]+",
    rhd_split="training|evaluation",
    which="|_in",
    sequence="[A-Za-z0-9_-]+",
    dataset="assembly_hands|rhd|ganerated",
    phase="phase1|phase3_unrefined|phase3",
    ablation="|_ablation",


def needs(mem_mb=2000, runtime=60, gpu=0):
    """A job's resources: memory of the host, minutes, and GPUs where the device is one."""
    return {"mem_mb": mem_mb, "runtime": runtime, "gpu": gpu and GPUS}


def plain(settings):
    """A settings model as JSON values: what a job gets to see, and what runs it again when it changes."""
    return settings.model_dump(mode="json", by_alias=True)


def pair_views(wildcards):
    """The crops of the two cameras of a pair."""
    folder = f"results/s2d/views/{SPLIT}/{wildcards.headset}"
    return [f"{folder}/camera{camera}.npz" for camera in wildcards.pair.split("-")]


def part(settings, *names):
    """The named settings only, so that another one does not run this again; the rest keep their defaults."""
    return {name: value for name, value in plain(settings).items() if name in names}


def demo_part(*names):
    """The demo's seed and the named sizes."""
    return part(RUN.demo, "seed", *names)


def assembly_demo(wildcards):
    """What a split of the demo's AssemblyHands depends on."""
    frames = f"assembly_hands_{wildcards.split}_frames"
    return demo_part("assembly_hands_train_sequences", frames) if wildcards.split == "train" else demo_part(frames)


def annotations_of(split):
    """The three annotation files of a split of AssemblyHands."""
    files = annotation_files(DATASETS.assembly_hands, split)
    return [str(files.data), str(files.calibration), str(files.joints)]


def by_hand(setting, paths):
    """Files that the user fetches; where they are missing, the run ends with where to get them.

    It ends at once: of an ordinary error, or of a missing input, snakemake makes "take the outputs that are there",
    and those may be another configuration's, say the demo's.
    """
    try:
        require(RUN, Path(), setting, paths)
    except InputError as error:
        sys.exit(f"handloom: {error}")
    return paths


def split_annotations(wildcards):
    """The annotation files of the wildcard's split."""
    return by_hand("datasets.assembly_hands.root", annotations_of(wildcards.split))


def demo_sequences(split, headset=None):
    """The recordings that the demo renders for a split, of one headset or of both."""
    plans = assembly_sequences(RUN.demo, split)
    return [plan.name for plan in plans if headset in (None, plan.headset)]


def images_of(split, headset):
    """The image folders that the demo renders for a headset; real images are too many to be watched one by one."""
    folder = f"{DATASETS.assembly_hands.root}/images/ego_images_rectified/{split}"
    return [f"{folder}/{name}" for name in demo_sequences(split, headset)] if RUN.demo else []


def views_of(headset):
    """The crops of the four cameras of a headset."""
    return [f"results/s2d/views/{SPLIT}/{headset}/camera{camera}.npz" for camera in CAMERAS]


def headset_views(wildcards):
    """The crops of the four cameras of the wildcard's headset."""
    return views_of(wildcards.headset)


def of_headsets(setting, name):
    """One file of every headset in the tables."""
    return [f"results/s2d/{setting}/{headset}/{name}" for headset in RUN.headsets]


def of_adaptations(settings, suffix, headsets=RUN.headsets, variants=VARIANTS, seeds=RUN.seeds):
    """One file of every adaptation, of all pairs."""
    return collect(
        "results/s2d/{setting}/{headset}/{pair}/{variant}/seed{seed}.{suffix}",
        setting=settings,
        headset=headsets,
        pair=RUN.pairs,
        variant=variants,
        seed=seeds,
        suffix=suffix,
    )


def setting_of(wildcards):
    """The setting of a picture whose name has none for the cross-dataset setting, which is the paper's main one."""
    return "in" if wildcards.which else "cross"


def training_data(wildcards):
    """What the labelled crops of a data set are cut from."""
    if wildcards.dataset == "assembly_hands":
        images = [path for headset in ("headset1", "headset2") for path in images_of("train", headset)]
        return by_hand("datasets.assembly_hands.root", annotations_of("train")) + images
    if wildcards.dataset == "rhd":
        return by_hand("datasets.rhd.root", [f"{DATASETS.rhd.root}/RHD_published_v2/training"])
    return by_hand("datasets.ganerated.root", [f"{DATASETS.ganerated.root}/data"])


def mano_pickle(side):
    """An input function: the user's MANO hand of a side."""
    return lambda wildcards: by_hand("mano", [f"{RUN.mano or 'data/mano'}/MANO_{side.upper()}.pkl"])[0]


def configured_checkpoint(wildcards):
    """The checkpoint file that the configuration names for a setting."""
    path = str(checkpoint_path(SOURCES[wildcards.setting].checkpoint))
    return by_hand(f"sources.{wildcards.setting}.checkpoint", [path])[0]


def mediapipe_network(name):
    """The file of one of MediaPipe's networks, `landmarks` or `palms`: fetched by its rule, or the user's own."""
    path = getattr(RUN.hold.hand.estimation.mediapipe, name)
    fetched = path in (LANDMARKS_FILE, PALMS_FILE)
    return path if fetched else by_hand(f"hold.hand.estimation.mediapipe.{name}", [path])[0]
