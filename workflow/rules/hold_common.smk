"""HOLD's sequences, and what its rules read."""

from handloom.demo.hold_names import OBJECT_NAMES
from handloom.runtime.config.hold import HOLD_DEMO_ROOT

HOLD = RUN.hold
SEQUENCES = HOLD.chosen
PHASES = ["phase1", "phase3_unrefined", "phase3"]
RENDERED = {} if HOLD.demo is None else {name: OBJECT_NAMES[name] for name in HOLD.demo.sequences}
ANNOTATED = [name for name, sequence in SEQUENCES.items() if sequence.kind == "ho3d"]
WITH_STAGES = [name for name, sequence in SEQUENCES.items() if sequence.kind != "build"]
# The last input of its rules, as scripts take the others by their places; without a file, none.
MANO_HAND = "resources/mano/mano_right.npz" if RUN.mano else []
OF_SEQUENCE = "results/hold/{sequence}"
OTHERS = HOLD.others
OTHER_SCORES = [f"results/hold/{name}/interchange/{method}/scores.json" for method, name in OTHERS]
HOLD_TABLES = ["results/tables/hold.csv", "results/tables/hold_ablation.csv"] if ANNOTATED else []
HOLD_QUALITY = ["results/tables/hold_quality.csv"] if WITH_STAGES else []
HOLD_VIDEOS = [f"results/hold/{name}/phase3/{video}.mp4" for name in SEQUENCES for video in ("turntable", "overlay")]
HOLD_FIGURES = [f"results/figures/hold/{name}.png" for name in SEQUENCES] + HOLD_VIDEOS
HOLD_PAGES = [f"results/hold/{name}/phase3/scene.html" for name in SEQUENCES]
STAGES = [
    *("extract_frames", "sequence_masks", "object_poses", "hand_estimates", "hand_poses", "align_hand_object"),
    *("build_sequence", "hand_template" if HOLD.field == "compact" else "hand_prior"),
]
TRAINED_BY = {"compact": "train_phase", "holdnet": "train_holdnet"}[HOLD.field]


def sequence_of(wildcards):
    """The settings of the wildcard's sequence, as JSON values."""
    if wildcards.sequence not in SEQUENCES:
        raise WorkflowError(f"hold.sequences has no {wildcards.sequence}; it has {', '.join(SEQUENCES) or 'none'}")
    return plain(SEQUENCES[wildcards.sequence])


def sequence_source(wildcards):
    """The folder or file that a sequence is read from; the demo renders its own, others are the user's."""
    path = sequence_of(wildcards)["path"]
    if wildcards.sequence in RENDERED:
        return [path, f"{HOLD_DEMO_ROOT}/models/{RENDERED[wildcards.sequence]}"]
    return by_hand(f"hold.sequences.{wildcards.sequence}.path", [path])


def hand_checkpoint(wildcards):
    """The weights of the configured hand estimator: DetNet's, MediaPipe's, or METRO's or HandOccNet's by the user."""
    estimation = HOLD.hand.estimation
    if estimation.backend == "mediapipe":
        return mediapipe_network("landmarks")
    fetched = {"metro": estimation.metro.checkpoint, "handoccnet": estimation.handoccnet.checkpoint}
    if estimation.backend in fetched:
        setting = f"hold.hand.estimation.{estimation.backend}.checkpoint"
        return by_hand(setting, [fetched[estimation.backend]])[0]
    return str(checkpoint_path(estimation.checkpoint))


def build_of(wildcards):
    """HOLD's build folder: the user's own, or the one made from the sequence."""
    sequence = sequence_of(wildcards)
    if sequence["kind"] == "build":
        return by_hand(f"hold.sequences.{wildcards.sequence}.path", [sequence["path"]])
    return [f"results/hold/{wildcards.sequence}/build"]


def interchange_file(wildcards):
    """The user's file of another method for a sequence."""
    method, sequence = wildcards.method, wildcards.sequence
    if (method, sequence) not in OTHERS:
        raise WorkflowError(f"hold.interchange.{method} names no file for {sequence}; docs/interchange.md tells how")
    return by_hand(f"hold.interchange.{method}.{sequence}", [OTHERS[method, sequence]])[0]


def stage_benchmarks(sequence, rules):
    """The benchmark files of rules that ran for a sequence."""
    return [f"benchmarks/{rule}/{sequence}.tsv" for rule in rules]


def phase_benchmarks(sequence, phase):
    """All that a phase's result took, from the frames on."""
    needed = {"phase1": [], "phase3_unrefined": ["phase1"], "phase3": ["phase1"]}[phase]
    refined = ["refine_poses"] if phase == "phase3" else []
    if HOLD.field == "holdnet" and phase == "phase3" and sequence in HOLD.holdnet.checkpoints:
        needed, refined = [], []
    trained = [f"benchmarks/{TRAINED_BY}/{sequence}/{name}.tsv" for name in [*needed, phase]]
    return stage_benchmarks(sequence, STAGES + refined) + trained
