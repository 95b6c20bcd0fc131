"""S2DHand: crops, first rotations, adaptation."""


rule list_invalid:
    """The hands of a split that are too hidden to use: one list over all cameras."""
    input:
        annotations=split_annotations,
    output:
        invalid="results/s2d/views/{split}/invalid.txt",
    log:
        "logs/list_invalid/{split}.log",
    benchmark:
        "benchmarks/list_invalid/{split}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        dataset=plain(DATASETS.assembly_hands),
        code=code_digest("handloom.datasets.invalid_list"),
    script:
        "../scripts/list_invalid.py"


rule crop_views:
    """All hand crops of one camera of a headset, as the network sees them."""
    input:
        annotations=split_annotations,
        images=lambda wildcards: images_of(wildcards.split, wildcards.headset),
        invalid="results/s2d/views/{split}/invalid.txt",
    output:
        views="results/s2d/views/{split}/{headset}/camera{camera}.npz",
    log:
        "logs/crop_views/{split}/{headset}/camera{camera}.log",
    benchmark:
        "benchmarks/crop_views/{split}/{headset}/camera{camera}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        dataset=plain(DATASETS.assembly_hands),
        input_px=RUN.detnet.input_px,
        code=code_digest("handloom.datasets.views"),
    script:
        "../scripts/crop_views.py"


rule predict_source:
    """The source network's pose for every crop of a headset: the baseline, and what the first rotations come from."""
    input:
        views=headset_views,
        source="results/s2d/source/{setting}/detnet.safetensors",
    output:
        predictions="results/s2d/{setting}/{headset}/source_predictions.npz",
    log:
        "logs/predict_source/{setting}/{headset}.log",
    benchmark:
        "benchmarks/predict_source/{setting}/{headset}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=120,
        gpu=GPUS,
    params:
        detnet=plain(RUN.detnet),
        root_joint=lambda wildcards: SOURCES[wildcards.setting].root_joint,
        device=RUN.device,
        code=code_digest("handloom.adaptation.source_prediction"),
    script:
        "../scripts/predict_source.py"


rule start_rotations:
    """R(0) of all camera pairs of a headset: as published, with viewing rays, and synchronised over the camera graph."""
    input:
        views=headset_views,
        predictions="results/s2d/{setting}/{headset}/source_predictions.npz",
    output:
        rotations="results/s2d/{setting}/{headset}/rotations.json",
    log:
        "logs/start_rotations/{setting}/{headset}.log",
    benchmark:
        "benchmarks/start_rotations/{setting}/{headset}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        adaptation=part(RUN.adaptation, "rotation_pairs", "confidence_threshold", "rotations"),
        fidelity=RUN.fidelity,
        root_joint=lambda wildcards: SOURCES[wildcards.setting].root_joint,
        ray_share=lambda wildcards: SOURCES[wildcards.setting].ray_share,
        code=code_digest("handloom.adaptation.rotation_start"),
    script:
        "../scripts/start_rotations.py"


rule adapt:
    """S2DHand on one camera pair with one seed; a killed adaptation goes on from its last checkpoint."""
    input:
        views=pair_views,
        source="results/s2d/source/{setting}/detnet.safetensors",
        rotations="results/s2d/{setting}/{headset}/rotations.json",
    output:
        network="results/s2d/{setting}/{headset}/{pair}/{variant}/seed{seed}.safetensors",
        predictions="results/s2d/{setting}/{headset}/{pair}/{variant}/seed{seed}.predictions.npz",
        history="results/s2d/{setting}/{headset}/{pair}/{variant}/seed{seed}.history.csv",
    log:
        "logs/adapt/{setting}/{headset}/{pair}/{variant}/seed{seed}.log",
    benchmark:
        "benchmarks/adapt/{setting}/{headset}/{pair}/{variant}/seed{seed}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=120,
        gpu=GPUS,
    params:
        detnet=plain(RUN.detnet),
        adaptation=plain(RUN.adaptation),
        fidelity=RUN.fidelity,
        root_joint=lambda wildcards: SOURCES[wildcards.setting].root_joint,
        ray_share=lambda wildcards: SOURCES[wildcards.setting].ray_share,
        device=RUN.device,
        code=code_digest("handloom.adaptation.s2dhand"),
    script:
        "../scripts/adapt.py"
