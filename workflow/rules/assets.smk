"""What the user has to fetch, and whether it is there; the user's hand model; networks that are shipped or fetched."""

from handloom.check import print_assets


localrules:
    check,
    shipped_network,


rule check:
    """Print data sets, models and checkpoints: found or not, where expected, licence and home page, what they enable."""
    log:
        "logs/check.log",
    run:
        print_assets(RUN, Path())


use rule stage as convert_mano with:
    """The user's MANO pickles as npz files, read without chumpy and without running anything in them."""
    input:
        right=mano_pickle("right"),
        left=mano_pickle("left"),
    output:
        right_npz="resources/mano/mano_right.npz",
        left_npz="resources/mano/mano_left.npz",
    pathvars:
        job="convert_mano",
    resources:
        **needs(runtime=10),
    params:
        **stage("hand.mano_files:convert_mano", watched=contents_of(mano_pickle("right"), mano_pickle("left"))),


use rule stage as open_hand with:
    """The shipped hand of a side, for sequences in which the left hand holds the object, or both do."""
    output:
        model="resources/hand/{side}.npz",
    pathvars:
        job="open_hand/{side}",
    wildcard_constraints:
        side="right|left",
    resources:
        **needs(runtime=10),
    params:
        **stage("hand.models:write_open_hand"),


use rule stage as shipped_network with:
    """A network out of the package, so that no result depends on where the package lies."""
    output:
        network="resources/shipped/{name}",
    pathvars:
        job="shipped_network/{name}",
    resources:
        **needs(runtime=10),
    params:
        **stage("runtime.assets:take_shipped", digest=lambda wildcards: shipped_digest(wildcards.name)),


use rule stage as fetch_mediapipe with:
    """MediaPipe's networks (Apache-2.0) out of the package mediapipe on PyPI, by its checksum; before all else."""
    output:
        landmarks=LANDMARKS_FILE,
        palms=PALMS_FILE,
    pathvars:
        job="fetch_mediapipe",
    # A run that cannot have them should learn it in its first minute.
    priority: 100
    resources:
        **needs(mem_mb=1000, runtime=30),
    params:
        **stage("estimators.mediapipe.package_weights:fetch_weights"),
