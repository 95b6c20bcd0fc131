"""MediaPipe's hand networks, which their own Python package ships."""


rule fetch_mediapipe:
    """MediaPipe's networks (Apache-2.0) out of the package mediapipe on PyPI, with their checksums; before all else."""
    output:
        landmarks=LANDMARKS_FILE,
        palms=PALMS_FILE,
    log:
        "logs/fetch_mediapipe.log",
    benchmark:
        "benchmarks/fetch_mediapipe.tsv"
    # A run that cannot have them should learn it in its first minute.
    priority: 100
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        code=code_digest("handloom.estimators.mediapipe.package_weights"),
    script:
        "../scripts/fetch_mediapipe.py"
