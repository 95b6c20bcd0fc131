"""The user's own camera pairs, and what their rules read."""

from handloom.datasets.views import OWN_PAIR

FOOTAGE = RUN.footage
OF_RIG = "results/footage/{rig}"
OF_VIEW = f"{OF_RIG}/{{view}}"
VIEWS = ["left", "right"]
TO_CROP = {"frames": "frames", "frames_json": "frames.json", "hands": "hands.npz"}
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


def footage_files(wildcards):
    """Everything of every camera pair."""
    if not FOOTAGE_FILES:
        sys.exit("handloom: footage.pairs: names no camera pair; docs/footage.md tells how to give yours")
    return FOOTAGE_FILES


def rig_of(wildcards):
    """The settings of the wildcard's camera pair."""
    return or_end(named_entry, RUN, "pairs", wildcards.rig)


def of_views(name):
    """One file of both views."""
    return expand(f"{OF_VIEW}/{name}", view=VIEWS, allow_missing=True)


def view_frames(wildcards):
    """Which frames of a view are used, and how."""
    return plain(rig_of(wildcards).frames(wildcards.view))


def view_state(wildcards):
    """The state of a view's video or pictures."""
    return state_in(view_source(wildcards), ("*",))


def ready_pair(wildcards, stage):
    """End the run where something stands in the way of a stage of the wildcard's camera pair."""
    nothing_before("pairs", wildcards.rig, stage)


def view_source(wildcards):
    """The folder or file that a view is read from."""
    ready_pair(wildcards, "frames")
    return ancient(getattr(rig_of(wildcards), wildcards.view))


def view_boxes(wildcards):
    """The boxes of a view, if the user gives them; none beside files of hands."""
    if hands_told(wildcards):
        return []
    ready_pair(wildcards, "frames")
    boxes = getattr(rig_of(wildcards), f"{wildcards.view}_boxes")
    return ancient(boxes) if boxes else []


def hands_told(wildcards):
    """Whether a view's hands are in files of the user's."""
    return rig_of(wildcards).hands(wildcards.view) is not None


def view_hands(wildcards):
    """The user's files of a view's hands, if they are not looked for."""
    if not hands_told(wildcards):
        return []
    ready_pair(wildcards, "hand_estimates")
    return ancient(rig_of(wildcards).hands(wildcards.view))


def view_network(wildcards):
    """The settings of what a view's hands come of: the network, or files."""
    return plain(HOLD.hand.estimation.of("files" if hands_told(wildcards) else FOOTAGE.backend))


def view_hands_stage(wildcards):
    """The stage that finds the hands of a view, or takes them from files."""
    return f"estimators.{FOOTAGE.backend}.{'file_hands' if hands_told(wildcards) else 'hands'}:find_hands"


def view_mano(wildcards):
    """MANO's hand, which parameters from files pose."""
    return MANO_HAND if hands_told(wildcards) else []


def view_weights(wildcards):
    """The network's weights, where it looks for a view's hands."""
    return [] if hands_told(wildcards) else footage_weights(wildcards)


def view_calibration(wildcards):
    """The file of a view's calibration, if the user gives one."""
    ready_pair(wildcards, "frames")
    path = rig_of(wildcards).calibration(wildcards.view)
    return ancient(path) if path else []


def known_cameras(wildcards):
    """What is known of both cameras."""
    return [plain(rig_of(wildcards).known_camera(view)) for view in VIEWS]


def footage_weights(wildcards):
    """The network's weights, which adaptation starts from."""
    ready_pair(wildcards, "hand_estimates")
    if FOOTAGE.checkpoint is None:
        return own_file(FOOTAGE.backend, "weights")
    return network_file("footage.checkpoint", FOOTAGE.checkpoint)


def footage_detector(wildcards):
    """The file of what finds hands in whole pictures; none where boxes tell where they are."""
    if hands_told(wildcards):
        return []
    alone = NETWORKS[FOOTAGE.backend].detector is not None and not view_boxes(wildcards)
    return own_file(FOOTAGE.backend, "detector") if alone else []
