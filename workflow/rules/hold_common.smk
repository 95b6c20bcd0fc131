"""HOLD's sequences, and what its rules read."""

from handloom.estimators.masks import SOURCES as MASK_SOURCES
from handloom.estimators.sfm import BACKENDS as SFM_BACKENDS
from handloom.runtime.config.hold import HOLD_DEMO_ROOT
from handloom.runtime.config.sequences import FrameSettings

HOLD = RUN.hold
ESTIMATION = HOLD.hand.estimation
SEQUENCES = HOLD.chosen
PHASES = ["hull", "phase1", "phase3_unrefined", "phase3"]
RENDERED = [] if HOLD.demo is None else list(HOLD.demo.sequences)
ANNOTATED = [name for name, sequence in SEQUENCES.items() if sequence.kind == "ho3d"]
TWO_HANDED = [name for name in ANNOTATED if len(SEQUENCES[name].hands) == 2]
ONE_HANDED = [name for name in ANNOTATED if name not in TWO_HANDED]
WITH_STAGES = [name for name, sequence in SEQUENCES.items() if sequence.kind != "build"]
# The hand model that networks take, which know right hands; none for the shipped one.
MANO_HAND = "resources/mano/mano_right.npz" if RUN.mano else []
OF_SEQUENCE = "results/hold/{sequence}"
OTHERS = HOLD.others
OTHER_SCORES = [f"results/hold/{name}/interchange/{method}/scores.json" for method, name in OTHERS]
HOLD_TABLES = ["results/tables/hold.csv", "results/tables/hold_ablation.csv"] if ONE_HANDED else []
HOLD_TABLES += ["results/tables/hold_two_hands.csv"] if TWO_HANDED else []
HOLD_QUALITY = ["results/tables/hold_quality.csv"] if WITH_STAGES else []
HOLD_VIDEOS = [f"results/hold/{name}/phase3/{video}.mp4" for name in SEQUENCES for video in ("turntable", "overlay")]
HOLD_FIGURES = [f"results/figures/hold/{name}.png" for name in SEQUENCES] + HOLD_VIDEOS
HOLD_PAGES = [f"results/hold/{name}/phase3/scene.html" for name in SEQUENCES]
STAGES = ["extract_frames", "sequence_masks", "object_poses", "hand_estimates", "build_sequence"]
SHAPES = ["hand_prior"] if HOLD.field == "holdnet" else []
if HOLD.field == "holdnet" and HOLD.holdnet.fidelity == "fixed":
    SHAPES += ["object_prior"]
# What is read of a sequence's folder, by its kind.
PICTURES_IN = {"ho3d": ["rgb/*", "meta/*"], "build": ["image/*", "corres.txt"], "frames": ["*"], "video": ["*"]}
MASKS_IN = {"ho3d": ["seg/*"], "build": ["mask/*", "image/*"]}
BUILD_IN = {"build": ["image/*", "mask/*", "corres.txt", "data.npy"]}
SFM = SFM_BACKENDS[HOLD.sfm.backend]
TRAINED_BY = {"compact": "train_phase", "holdnet": "train_holdnet"}[HOLD.field]


def without(settings, *names):
    """All settings but the named ones, which a rule does not depend on; those keep their defaults there."""
    return {name: value for name, value in plain(settings).items() if name not in names}


def sequence_of(wildcards):
    """The settings of the wildcard's sequence."""
    return or_end(named_entry, RUN, "sequences", wildcards.sequence)


def hands_of(wildcards):
    """The hands that hold the object in the wildcard's sequence."""
    return list(sequence_of(wildcards).hands)


def hand_model_of(wildcards):
    """The hand model of each hand of a sequence; none for the shipped right hand alone."""
    sides = hands_of(wildcards)
    if sides == ["right"] and not RUN.mano:
        return []
    models = [f"resources/mano/mano_{side}.npz" if RUN.mano else f"resources/hand/{side}.npz" for side in sides]
    return models[0] if len(models) == 1 else models


def of_sequence(wildcards, path):
    """A file or folder of a sequence: of the user's the contents count (`state_in`), not how old they are."""
    return path if wildcards.sequence in RENDERED else ancient(path)


def ready(wildcards, stage):
    """End the run where something stands in the way of a stage of the wildcard's sequence."""
    nothing_before("sequences", wildcards.sequence, stage)


def sequence_source(wildcards):
    """The folder or file that a sequence is read from."""
    ready(wildcards, "frames")
    return of_sequence(wildcards, sequence_of(wildcards).path)


def rendered_model(wildcards):
    """The model of the object in a sequence that the demo renders."""
    return f"{HOLD_DEMO_ROOT}/models/{wildcards.sequence}" if wildcards.sequence in RENDERED else []


def rendered_model_of_poses(wildcards):
    """The same where the object's poses are the annotated ones, which are told of the model."""
    ready(wildcards, "object_poses")
    return [] if SFM.of_masks else rendered_model(wildcards)


def source_of_poses(wildcards):
    """What of the user's the object's poses need besides frames and masks: skipped pictures, annotations, a model."""
    model = sequence_of(wildcards).colmap_model
    if HOLD.sfm.backend == "colmap_model" and model is not None:
        return of_sequence(wildcards, model)
    more = SFM.skipped and sequence_of(wildcards).skips
    return sequence_source(wildcards) if more or not SFM.of_masks else []


def state_of_poses(wildcards):
    """The state of the user's files that the object's poses are read from."""
    if HOLD.sfm.backend == "colmap_model":
        return state_in(sequence_of(wildcards).colmap_model)
    return "" if SFM.of_masks else sequence_state({"ho3d": ["meta/*"]})(wildcards)


def annotated_source(wildcards):
    """The folder of a sequence whose poses are annotated."""
    kind = sequence_of(wildcards).kind
    if kind != "ho3d":
        sys.exit(f"handloom: hold.sequences.{wildcards.sequence}: is of kind {kind}; only ho3d sequences have a truth")
    ready(wildcards, "truth")
    return sequence_source(wildcards)


def frame_settings(wildcards):
    """Which frames of a sequence are used, and how."""
    return part(sequence_of(wildcards), *FrameSettings.model_fields)


def marked_pictures(wildcards):
    """The marked pictures of a video, which become frames though motion chooses these."""
    sequence = sequence_of(wildcards)
    return [marks.frame for marks in sequence.masks.marks] if sequence.every == "auto" else []


def sequence_state(files):
    """An input function: the state of the user's files that are read of a sequence's folder, by its kind."""

    def state(wildcards):
        sequence = sequence_of(wildcards)
        watched = wildcards.sequence not in RENDERED and sequence.kind in files
        return state_in(sequence.path, tuple(files[sequence.kind])) if watched else ""

    return state


def mask_source(wildcards):
    """Where the masks of a sequence come from."""
    return MASK_SOURCES[sequence_of(wildcards).masks.source]


def mask_stage(wildcards):
    """The stage that makes the masks of a sequence."""
    return mask_source(wildcards).stage


def masks_ready(wildcards):
    """An input function without a file: ends the run where the masks of a sequence cannot be."""
    ready(wildcards, "masks")
    return on_device(f"{OF_SEQUENCE}/masks.png")(wildcards) if mask_source(wildcards).on_device else []


def mask_input(wildcards):
    """The user's file or folder that masks are read from, if they are."""
    given = mask_source(wildcards).given(sequence_of(wildcards))
    return [] if given is None else of_sequence(wildcards, given[1])


def mask_arguments(wildcards):
    """What the stage of the masks is given besides files."""
    source = mask_source(wildcards)
    device = {"device": RUN.device} if source.on_device else {}
    return {**source.arguments(sequence_of(wildcards)), **device}


def mask_state(wildcards):
    """The state of the user's mask files, or of the weights that masks are made by."""
    if sequence_of(wildcards).masks.source == "dataset":
        return sequence_state(MASKS_IN)(wildcards)
    given = mask_input(wildcards)
    return state_in(given) if given else ""


def corrects_masks(sequence):
    """Whether a sequence's masks are carried along its frames, and corrected after."""
    return sequence.masks.source == "propagation" and sequence.masks.propagation.corrected


def masks_of(wildcards):
    """The masks of a sequence that hand and object are fitted to, carried ones corrected; a build folder has its own."""
    if sequence_of(wildcards).kind == "build":
        return []
    return f"{OF_SEQUENCE}/{'corrected_masks' if corrects_masks(sequence_of(wildcards)) else 'masks'}"


def hand_files(wildcards):
    """The user's files of hands, where they are not looked for."""
    if ESTIMATION.backend != "files":
        return []
    ready(wildcards, "hand_estimates")
    return of_sequence(wildcards, sequence_of(wildcards).hand_files)


def hand_state(wildcards):
    """The state of what hands come of: the network's weights, or the user's files."""
    return state_in(hand_files(wildcards)) if ESTIMATION.backend == "files" else contents_of(hand_weights)(wildcards)


def hand_weights(wildcards):
    """The weights of the configured hand network, if there is one."""
    if ESTIMATION.backend == "files":
        return []
    ready(wildcards, "hand_estimates")
    if ESTIMATION.checkpoint is None:
        return own_file(ESTIMATION.backend, "weights")
    return network_file("hold.hand.estimation.checkpoint", ESTIMATION.checkpoint)


def annotated_scores():
    """The scores of the sequences in HOLD's tables."""
    if not ONE_HANDED:
        sys.exit(
            "handloom: hold.sequences: none is of kind ho3d, and only those have a truth that a table can compare with; "
            "ask for results/tables/hold_quality.csv, which needs none, or with hands: [right, left] for hold_two_hands.csv"
        )
    return [f"results/hold/{name}/phase3/scores.json" for name in ONE_HANDED]


def two_hands_scores(wildcards):
    """The scores of the sequences with two hands that have a truth."""
    if not TWO_HANDED:
        sys.exit(
            "handloom: hold.sequences: none of kind ho3d has hands: [right, left]; config/two_hands.yaml renders one"
        )
    return [f"results/hold/{name}/phase3/scores.json" for name in TWO_HANDED]


def quality_tables(wildcards):
    """The quality of the sequences whose stages run."""
    if not WITH_STAGES:
        sys.exit("handloom: hold.sequences: names no video, frames or HO3D sequence, whose quality could be told")
    return collect("results/hold/{sequence}/quality.csv", sequence=WITH_STAGES)


def quality_of(wildcards):
    """The quality of a sequence; none of a build folder, whose stages did not run here."""
    return [] if sequence_of(wildcards).kind == "build" else f"{OF_SEQUENCE}/quality.csv"


def refinement_of(wildcards):
    """The settings of phase 2; a size that is known stays."""
    known = sequence_of(wildcards).object_size_m is not None
    return {**plain(HOLD.refinement), **({"scale_rate": 0.0} if known else {})}


def build_of(wildcards):
    """HOLD's build folder: the user's own, or the one made from the sequence."""
    built = sequence_of(wildcards).kind != "build"
    return f"results/hold/{wildcards.sequence}/build" if built else sequence_source(wildcards)


def aligned_of(wildcards):
    """The aligned poses, which tell how sure the object's size is; none of a build folder."""
    return [] if sequence_of(wildcards).kind == "build" else f"{OF_SEQUENCE}/aligned.npz"


def interchange_file(wildcards):
    """The user's file of another method for a sequence."""
    method, sequence = wildcards.method, wildcards.sequence
    if (method, sequence) not in OTHERS:
        sys.exit(
            f"handloom: hold.interchange.{method}: names no file for {sequence}; name one there, as docs/interchange.md "
            "tells"
        )
    return by_hand(f"hold.interchange.{method}.{sequence}", [OTHERS[method, sequence]])[0]


def stage_benchmarks(sequence, rules):
    """The benchmark files of rules that ran for a sequence."""
    return [f"{PLACE}benchmarks/{rule}/{sequence}.tsv" for rule in rules]


def phase_benchmarks(sequence, phase):
    """All that a phase's result took, from the frames on."""
    if phase == "hull":
        return stage_benchmarks(sequence, STAGES)
    needed = {"phase1": [], "phase3_unrefined": ["phase1"], "phase3": ["phase1"]}[phase]
    refined, shapes = ["refine_poses"] if phase == "phase3" else [], SHAPES
    if HOLD.field == "holdnet" and phase == "phase3" and sequence in HOLD.holdnet.checkpoints:
        needed, refined, shapes = [], [], ["hand_prior"]
    trained = [f"{PLACE}benchmarks/{TRAINED_BY}/{sequence}/{name}.tsv" for name in [*needed, phase]]
    masks = ["corrected_masks"] * corrects_masks(SEQUENCES[sequence])
    return stage_benchmarks(sequence, [*STAGES, *masks, *shapes, *refined]) + trained


SCORED_FRAMES = {"frames": "scored_frames"}


def phase_files(phase):
    """What a phase leaves: predictions in the camera's frame, videos, meshes, poses, and a page to turn the scene on."""
    folder = f"{OF_SEQUENCE}/{phase}"
    exports = ("object.glb", "object.ply", "hand.glb", "hand.ply", "scene.glb", "poses.npz", "poses.json")
    return {
        "predictions": f"{folder}/predictions.npz",
        **{name.replace(".", "_"): f"{folder}/export/{name}" for name in exports},
        "page": shown(f"{folder}/scene.html", "hold_scene", "Scenes", {"sequence": "{sequence}", "of": phase}),
        **{video: f"{folder}/{video}.mp4" for video in ("turntable", "overlay")},
    }


def scored_as(phase, files=SCORED_FRAMES, **named):
    """The steps that score a phase against its sequence's annotation."""
    return [
        stage(
            "datasets.hold_truth:write_truth",
            models=lambda wildcards: sequence_of(wildcards).models,
            watched=sequence_state({"ho3d": ["meta/*"]}),
        ),
        stage(
            "evaluation.hold_scores:score_hold",
            files=files,
            protocol=HOLD.protocol,
            seed=HOLD.seed,
            phase=phase,
            **named,
        ),
    ]


def hold_table_files(name, setting):
    """A table of HOLD as numbers, as the paper prints it, and as the report shows it."""
    html = shown(f"results/tables/{name}.html", "hold_table", "Tables", {"table": "HOLD", "setting": setting})
    return {"csv": f"results/tables/{name}.csv", "markdown": f"results/tables/{name}.md", "html": html}


def behind(phases):
    """The benchmark files of all rules behind the rows of a table of HOLD."""
    return {row: {name: phase_benchmarks(name, phase) for name in ONE_HANDED} for row, phase in phases.items()}
