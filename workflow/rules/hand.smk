"""The user's own hand model."""


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
    params:
        **stage("hand.mano_files:convert_mano"),
