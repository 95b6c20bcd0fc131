"""S2DHand: crops, first rotations, adaptation."""


rule list_invalid:
    """The hands of a split that are too hidden to use: one list over all cameras."""
    input:
        annotations=lambda wildcards: annotations_of(wildcards.split),
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
        annotations=lambda wildcards: annotations_of(wildcards.split),
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
