"""The user's own hand model."""


rule convert_mano:
    """The user's MANO pickles as npz files, read without chumpy and without running anything in them."""
    input:
        right=mano_pickle("right"),
        left=mano_pickle("left"),
    output:
        right="resources/mano/mano_right.npz",
        left="resources/mano/mano_left.npz",
    log:
        "logs/convert_mano.log",
    benchmark:
        "benchmarks/convert_mano.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_digest("handloom.hand.mano_files"),
    script:
        "../scripts/convert_mano.py"
