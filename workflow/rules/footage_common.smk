"""The user's own camera pairs, and what their rules read."""

from handloom.datasets.views import OWN_PAIR

FOOTAGE = RUN.footage
FOOTAGE_NETWORK = HOLD.hand.estimation.of(FOOTAGE.backend)
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
    """The settings of the wildcard's camera pair."""
    if wildcards.rig not in FOOTAGE.chosen:
        raise WorkflowError(f"footage.pairs has no {wildcards.rig}; it has {', '.join(FOOTAGE.chosen) or 'none'}")
    return FOOTAGE.chosen[wildcards.rig]


def of_views(name):
    """One file of both views."""
    return expand(f"{OF_VIEW}/{name}", view=VIEWS, allow_missing=True)


def view_frames(wildcards):
    """Which frames of a view are used, and how."""
    return plain(rig_of(wildcards).frames(wildcards.view))


def view_state(wildcards):
    """The state of the pictures of a view that is a folder."""
    return state_in(view_source(wildcards), ("*",))


def of_view(wildcards, ending=""):
    """A file or folder that a setting of a view leads to, by its place and name; none where it is not set."""
    setting = f"{wildcards.view}{ending}"
    path = getattr(rig_of(wildcards), setting)
    return [] if path is None else by_hand(f"footage.pairs.{wildcards.rig}.{setting}", [path])[0]


def view_source(wildcards):
    """The folder or file that a view is read from."""
    return of_view(wildcards)


def view_boxes(wildcards):
    """The boxes of a view, if the user gives them."""
    return of_view(wildcards, "_boxes")


def view_calibration(wildcards):
    """The file of a view's calibration, if the user gives one."""
    path = rig_of(wildcards).calibration(wildcards.view)
    return [] if path is None else by_hand(f"footage.pairs.{wildcards.rig}.{wildcards.view}_camera", [path])[0]


def known_cameras(wildcards):
    """What is known of both cameras."""
    return [plain(rig_of(wildcards).known_camera(view)) for view in VIEWS]


def footage_weights(wildcards):
    """The network's weights, which adaptation starts from."""
    if FOOTAGE.checkpoint is None:
        return own_file(FOOTAGE.backend, "weights")
    return network_file("footage.checkpoint", FOOTAGE.checkpoint)


def footage_detector(wildcards):
    """The file of what finds hands in whole pictures; none where boxes tell where they are."""
    alone = NETWORKS[FOOTAGE.backend].detector is not None and not view_boxes(wildcards)
    return own_file(FOOTAGE.backend, "detector") if alone else []
