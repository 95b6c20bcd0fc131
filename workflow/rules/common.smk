"""The checked configuration, the wildcards' values, and the functions that rules share."""

import logging
import time
from functools import cache

from snakemake.path_modifier import PathModifier

from handloom.check import missing, named_entry, notices, refuse_stopped, require
from handloom.datasets import LABELLED
from handloom.datasets.assembly_hands import HEADSET_CAMERAS, annotation_files
from handloom.estimators.hands.registry import NETWORKS
from handloom.estimators.mediapipe import LANDMARKS_FILE, PALMS_FILE
from handloom.obstacles import weights_fault
from handloom.runtime.assets import PACKAGE_PREFIX, shipped_digest
from handloom.runtime.code_digest import code_digest
from handloom.runtime.config.load import settings_from
from handloom.runtime.devices import require_gpu
from handloom.runtime.files import files_state, require_writable, write_text
from handloom.runtime.job import hand_down_source
from handloom.runtime.places import OWN_FOLDERS, PRESET_RECORD, place_of, placed, placed_workflow
from handloom.runtime.run_lines import tell_by_lines
from handloom.runtime.stages import plain, stage, steps

BEGAN = time.time()
hand_down_source(SOURCE)
if workflow.is_main_process and not workflow.output_settings.dryrun:
    tell_by_lines(logging.getLogger("snakemake.logging"))
# The shell around a job waits for it when both are asked to stop: a training saves its state first.
shell.prefix("set -euo pipefail; trap : TERM; ")

RUN = or_end(settings_from, config, more=lambda run: missing(run, Path()))
for line in notices(RUN, Path()) if workflow.is_main_process else ():
    print(f"handloom: {line}", file=sys.stderr)
PLACE = place_of(RUN.preset, Path())
if PLACE:  # rules, and who types a target, name files as those in results/
    places = {folder: PLACE + folder for folder in OWN_FOLDERS}
    workflow.modifier.path_modifier = PathModifier(places, None, workflow, workflow.modifier.path_modifier)
    workflow.__class__ = placed_workflow(type(workflow), PLACE)
    roots = {name: each.model_copy(update={"root": placed(each.root, PLACE)}) for name, each in RUN.datasets}
    RUN = RUN.model_copy(update={"datasets": RUN.datasets.model_copy(update=roots)})
GPUS = 0 if RUN.device == "cpu" else 1
DATASETS = RUN.datasets
SPLIT = DATASETS.assembly_hands.split
SOURCES = {"in": RUN.sources.in_, "cross": RUN.sources.cross}
TRAINED = RUN.trained_sources
SETTINGS = list(SOURCES)
# Training sets are rendered only when something is trained; their sheets can be asked for by name at any time.
DEMO_SHEETS = ["assembly_hands_val"] + [
    sheet for name in TRAINED for dataset in SOURCES[name].datasets for sheet in LABELLED[dataset].sheets
]
CAMERAS = range(1, 1 + len(HEADSET_CAMERAS["headset1"]))  # of a headset, counted from 1; all have as many
VARIANTS = ("s2dhand", "s2dhand_plus")
ADAPTED_FILES = {
    "networks": "safetensors",
    "predictions": "predictions.npz",
    "histories": "history.csv",
    "records": "record.json",
}
# What S2DHand+ is set to, by the settings of the paper that have it.
PLUS = {name: plus for name in SETTINGS if (plus := RUN.plus_of(name)) is not None}
WITHOUT_PLUS = "|".join(name for name in SETTINGS if PLUS and name not in PLUS) or "none"
ENVIRONMENT = "../../envs/handloom.yaml"
if set(str(SOURCE)) & set("{}"):  # snakemake takes braces of the project's own path for wildcards
    ENVIRONMENT = str(SOURCE.parent / "envs/handloom.yaml").replace("{", "{{").replace("}", "}}")
FIGURES = [
    *(
        f"results/figures/s2d_{name}.png"
        for name in ("qualitative", "qualitative_in", "adaptation_curves", "rotation_error", "view_analysis")
    ),
    *(["results/figures/s2d_pretraining_curves.png"] if TRAINED else []),
    *(f"results/figures/demo/{name}.png" for name in DEMO_SHEETS if RUN.demo is not None),
]


wildcard_constraints:
    setting="in|cross",
    headset="|".join(HEADSET_CAMERAS),
    camera="[0-9]+",
    pair="[0-9]+-[0-9]+",
    network="|".join(NETWORKS),
    variant="|".join(VARIANTS),
    split="train|val|test",
    seed="[0-9]+",
    rhd_split="training|evaluation",
    which="|_in",
    sequence="[A-Za-z0-9_-]+",
    dataset="|".join(LABELLED),
    phase="hull|phase1|phase3_unrefined|phase3",
    ablation="|_ablation",


def needs(mem_mb=2000, runtime=60, gpu=0, with_gpu=()):
    """A job's resources: memory of the host, minutes, and GPUs where the device is one.

    `with_gpu` is what it asks for then instead, for the papers' sizes. A job that starts again after its time ran out
    gets more of it every time.
    """
    asked = {"mem_mb": mem_mb, "runtime": runtime, **(dict(with_gpu) if GPUS else {})}
    return {**asked, "runtime": lambda wildcards, attempt: attempt * asked["runtime"], "gpu": gpu and GPUS}


def on_device(result):
    """An input function without a file: ends the run where a result is to be computed on a GPU that is not there.

    A cluster's nodes may have what the machine that submits to them lacks.
    """

    def nothing(wildcards):
        elsewhere = workflow.non_local_exec or workflow.resource_settings.nodes is not None
        if GPUS and workflow.is_main_process and not elsewhere:
            if not Path(placed(result.format(**dict(wildcards.items())), PLACE)).exists():
                or_end(require_gpu, RUN.device)
        return []

    return nothing


def shown(path, caption, category, labels):
    """An output that the report shows, explained by workflow/report/{caption}.rst."""
    return report(path, caption=f"../report/{caption}.rst", category=category, labels=labels)


def network_of(wildcards):
    """The row of a setting's hand network."""
    return NETWORKS[SOURCES[wildcards.setting].network]


def source_setting(name):
    """A parameter: a value of the wildcard's source network."""
    return lambda wildcards: getattr(SOURCES[wildcards.setting], name)


def plus_setting(name):
    """A parameter: a value of S2DHand+ in the wildcard's setting."""
    return lambda wildcards: getattr(PLUS[wildcards.setting], name)


def network_file(setting, path):
    """A network's file that a setting names: shipped, fetched by a rule, or the user's own."""
    if path.startswith(PACKAGE_PREFIX):
        shipped_or_exit(setting, path)
        return f"resources/shipped/{path.removeprefix(PACKAGE_PREFIX)}"
    fetched = any(path in row.by_rule for row in NETWORKS.values())
    return path if fetched else by_hand(setting, [path])[0]


def shipped_or_exit(setting, path):
    """End the run where handloom ships no such file."""
    words = weights_fault(path)
    if words:
        sys.exit(f"handloom: {setting}: {words}")


def training_histories(wildcards):
    """The curves of the source networks that this run trains."""
    if not TRAINED:
        sys.exit("handloom: no source network is trained in this configuration; set pretrain: true")
    return [f"results/s2d/source/{name}/history.csv" for name in TRAINED]


def source_network(wildcards):
    """The network that a setting's adaptations start from, in handloom's own format where it is DetNet."""
    row = network_of(wildcards)
    if row.name == "detnet":
        return f"results/s2d/source/{wildcards.setting}/detnet.safetensors"
    return configured_checkpoint(wildcards)


def crops_of(setting, headset, cameras, kind="npz"):
    """The crops (`npz`) or labels (`labels.npz`) of some cameras of a headset, as a setting's network sees them."""
    network = SOURCES[setting].network
    return [f"results/s2d/views/{SPLIT}/{headset}/camera{camera}.{network}.{kind}" for camera in cameras]


def headset_crops(wildcards):
    """The crops of all cameras of the wildcard's headset."""
    return crops_of(wildcards.setting, wildcards.headset, CAMERAS)


def headset_labels(wildcards):
    """Their labels."""
    return crops_of(wildcards.setting, wildcards.headset, CAMERAS, "labels.npz")


def pair_crops(wildcards):
    """The crops of the two cameras of a pair."""
    return crops_of(wildcards.setting, wildcards.headset, wildcards.pair.split("-"))


def pair_labels(wildcards):
    """Their labels."""
    return crops_of(wildcards.setting, wildcards.headset, wildcards.pair.split("-"), "labels.npz")


def cropping_weights(wildcards):
    """The network's weights, where it has to see a hand to crop it; DetNet's crops need none."""
    return [] if wildcards.network == "detnet" else own_file(wildcards.network, "weights")


def own_file(network, kind):
    """A network's own weights or detector."""
    name = getattr(NETWORKS[network], kind)
    path = getattr(RUN.hold.hand.estimation.of(network), name)
    return network_file(f"hold.hand.estimation.{network}.{name}", path)


def part(settings, *names):
    """The named settings only, so that another one does not run this again; the rest keep their defaults."""
    return {name: value for name, value in plain(settings).items() if name in names}


def demo_part(*names):
    """The demo's seed and the named sizes."""
    return part(RUN.demo, "seed", *names)


def assembly_demo(wildcards):
    """What a split of the demo's AssemblyHands depends on."""
    frames = f"assembly_hands_{wildcards.split}_frames"
    of_train = ("assembly_hands_train_sequences", "assembly_hands_train_people", "turned_hands")
    return demo_part(frames, *(of_train if wildcards.split == "train" else ()))


def annotations_of(split):
    """The annotation files of a split of AssemblyHands; one without labels may have no file of joints."""
    files = annotation_files(DATASETS.assembly_hands, split)
    unlabelled = RUN.demo is None and split != "train" and not files.joints.exists()
    return [str(files.data), str(files.calibration), *([] if unlabelled else [str(files.joints)])]


def by_hand(setting, paths):
    """Files that the user fetches; where they are missing, the run ends with where to get them."""
    or_end(require, RUN, Path(), setting, paths)
    return paths


@cache
def nothing_before(section, name, stage):
    """End the run where something stands in the way of a stage of a sequence or camera pair; looked at once."""
    or_end(refuse_stopped, RUN, Path(), section, name, stage)


@cache
def state_in(path, patterns=("**/*",)):
    """The state of a user's file, or of those in a folder."""
    return files_state(Path(path), patterns)


def contents_of(*inputs, besides=lambda wildcards: ""):
    """A parameter: the state of the user's own files among inputs; one in another's place may be the older one.

    `besides` is another such state.
    """

    def state(wildcards):
        found = [each(wildcards) for each in inputs]
        paths = [path for each in found for path in ([each] if isinstance(each, str) else each)]
        return besides(wildcards) + "".join(
            state_in(path) for path in paths if not path.startswith(("resources/", "results/"))
        )

    return state


def split_annotations(wildcards):
    """The annotation files of the wildcard's split."""
    return by_hand("datasets.assembly_hands.root", annotations_of(wildcards.split))


def images_of(split):
    """The folder of images that the demo renders for a split; real images are too many to be watched."""
    return [f"{DATASETS.assembly_hands.root}/images/ego_images_rectified/{split}"] if RUN.demo else []


def of_headsets(setting, name):
    """One file of every headset in the tables."""
    return [f"results/s2d/{setting}/{headset}/{name}" for headset in RUN.headsets]


def of_adaptations(settings, suffix, headsets=RUN.headsets, variants=VARIANTS, seeds=RUN.seeds):
    """One file of every adaptation, of all pairs; S2DHand+ where it is set."""
    return [
        path
        for setting in settings
        for path in collect(
            "results/s2d/{setting}/{headset}/{pair}/{variant}/seed{seed}.{suffix}",
            setting=setting,
            headset=headsets,
            pair=RUN.pairs,
            variant=[name for name in variants if name == "s2dhand" or setting in PLUS],
            seed=seeds,
            suffix=suffix,
        )
    ]


def of_seeds(variant, kind):
    """Files of every seed, all of which one job makes; those that are finished for the same settings are kept."""
    folder = f"results/s2d/{{setting}}/{{headset}}/{{pair}}/{variant}"
    return [f"{folder}/seed{seed}.{ADAPTED_FILES[kind]}" for seed in RUN.seeds]


def adapted_files(variant, prefix=""):
    """Outputs: what an adaptation leaves of every seed, each file's argument with a prefix."""
    return {f"{prefix}{kind}": update(of_seeds(variant, kind)) for kind in ADAPTED_FILES}


def drawn_crops(wildcards, kind):
    """The crops or labels of all cameras of the headsets in the tables, as DetNet sees them, whatever is adapted."""
    return [
        f"results/s2d/views/{SPLIT}/{headset}/camera{camera}.detnet.{kind}"
        for headset in RUN.headsets
        for camera in CAMERAS
    ]


def setting_of(wildcards):
    """The setting of a picture whose name has none for the cross-dataset setting, which is the paper's main one."""
    return "in" if wildcards.which else "cross"


def training_data(wildcards):
    """What the labelled crops of a data set are cut from."""
    if wildcards.dataset == "assembly_hands":
        return by_hand("datasets.assembly_hands.root", annotations_of("train")) + images_of("train")
    root, inside = getattr(DATASETS, wildcards.dataset).root, LABELLED[wildcards.dataset].training
    return by_hand(f"datasets.{wildcards.dataset}.root", [f"{root}/{inside}"])


def mano_pickle(side):
    """An input function: the user's MANO hand of a side."""
    return lambda wildcards: by_hand("mano", [f"{RUN.mano or 'data/mano'}/MANO_{side.upper()}.pkl"])[0]


def source_start(wildcards):
    """The checkpoint that a setting's training begins as; no file where it begins at random."""
    start = SOURCES[wildcards.setting].start
    return [] if start is None else network_file(f"sources.{wildcards.setting}.start", start)


def configured_checkpoint(wildcards):
    """The checkpoint file that the configuration names for a setting, else its network's own."""
    source = SOURCES[wildcards.setting]
    if source.checkpoint is None:
        return own_file(source.network, "weights")
    return network_file(f"sources.{wildcards.setting}.checkpoint", source.checkpoint)


def shipped_checkpoint(wildcards):
    """The checkpoint of a setting where handloom ships it."""
    named = SOURCES[wildcards.setting].checkpoint or ""
    return named if named.startswith(PACKAGE_PREFIX) else None


def brought_checkpoint(wildcards):
    """The checkpoint of a setting where it lies in a file of its own."""
    return [] if shipped_checkpoint(wildcards) else configured_checkpoint(wildcards)


def shipped_state(wildcards):
    """The digest of the checkpoint that handloom ships for a setting."""
    shipped = shipped_checkpoint(wildcards)
    if shipped is None:
        return ""
    shipped_or_exit(f"sources.{wildcards.setting}.checkpoint", shipped)
    return shipped_digest(shipped.removeprefix(PACKAGE_PREFIX))
