"""The user's own camera pairs, and what their rules read."""

from handloom.runtime.config.mediapipe import LANDMARKS_FILE, PALMS_FILE

FOOTAGE = RUN.footage
OF_RIG = "results/footage/{rig}"
OF_VIEW = f"{OF_RIG}/{{view}}"
VIEWS = ["left", "right"]
FOOTAGE_FILES = [
    f"results/footage/{rig}/{name}"
    for rig in FOOTAGE.chosen
    for name in (
        *(f"{view}/hands.jpg" for view in VIEWS),
        *("pairing.png", "poses.json", "overlay.mp4", "skeleton.glb", "quality.csv"),
    )
]


wildcard_constraints:
    rig="[A-Za-z0-9_-]+",
    view="left|right",


def rig_of(wildcards):
    """The settings of the wildcard's camera pair, as JSON values."""
    if wildcards.rig not in FOOTAGE.chosen:
        raise WorkflowError(f"footage.pairs has no {wildcards.rig}; it has {', '.join(FOOTAGE.chosen) or 'none'}")
    return plain(FOOTAGE.chosen[wildcards.rig])


def rig_part(*names):
    """An input function: the named settings of the wildcard's camera pair, so that another one runs nothing again."""
    return lambda wildcards: {
        name: value for name, value in rig_of(wildcards).items() if name in ("left", "right", *names)
    }


def view_sequence(wildcards):
    """The settings of a view as those of a sequence of frames."""
    rig_of(wildcards)
    return plain(FOOTAGE.chosen[wildcards.rig].sequence(wildcards.view))


def view_source(wildcards):
    """The folder or file that a view is read from."""
    return by_hand(f"footage.pairs.{wildcards.rig}.{wildcards.view}", [rig_of(wildcards)[wildcards.view]])[0]


def view_boxes(wildcards):
    """The boxes of a view, if the user gives them."""
    path = rig_of(wildcards)[f"{wildcards.view}_boxes"]
    return [] if path is None else by_hand(f"footage.pairs.{wildcards.rig}.{wildcards.view}_boxes", [path])[0]


def footage_source(wildcards):
    """The weights that adaptation starts from."""
    if FOOTAGE.backend == "mediapipe":
        return LANDMARKS_FILE
    path = str(checkpoint_path(FOOTAGE.checkpoint))
    return path if FOOTAGE.checkpoint.startswith("package:") else by_hand("footage.checkpoint", [path])[0]


# Only MediaPipe has a network that looks for hands.
FOOTAGE_PALMS = PALMS_FILE if FOOTAGE.backend == "mediapipe" else []


def footage_part(*names):
    """The named settings of all camera pairs; the rest keep their defaults, and no pair runs another one's job again."""
    return part(FOOTAGE, "backend", "checkpoint", "root_joint", "detnet", "ray_share", *names)
