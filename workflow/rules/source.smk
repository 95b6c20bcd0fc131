"""The source networks: a checkpoint that is configured, or one trained here on labelled data sets."""

from handloom.estimators.detnet.provenance import source_provenance


rule prepare_training_samples:
    """The labelled crops of one data set, prepared once so that no epoch decodes an image."""
    input:
        data=training_data,
    output:
        samples="results/s2d/training/{dataset}.npz",
    log:
        "logs/prepare_training_samples/{dataset}.log",
    benchmark:
        "benchmarks/prepare_training_samples/{dataset}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        datasets=plain(DATASETS),
        input_px=RUN.detnet.input_px,
        code=code_digest("handloom.datasets.training_samples"),
    script:
        "../scripts/prepare_training_samples.py"


rule pretrain_source:
    """DetNet trained with labels on the data sets of a setting; a killed training goes on from its last checkpoint."""
    input:
        samples=lambda wildcards: collect(
            "results/s2d/training/{dataset}.npz",
            dataset=SOURCES[wildcards.setting].datasets,
        ),
    output:
        network="results/s2d/source/{setting}/detnet.safetensors",
        history="results/s2d/source/{setting}/history.csv",
    log:
        "logs/pretrain_source/{setting}.log",
    benchmark:
        "benchmarks/pretrain_source/{setting}.tsv"
    wildcard_constraints:
        setting="|".join(TRAINED) or "none",
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=4000,
        runtime=1440,
        gpu=GPUS,
    params:
        detnet=plain(RUN.detnet),
        pretraining=plain(RUN.pretraining),
        root_joint=lambda wildcards: SOURCES[wildcards.setting].root_joint,
        device=RUN.device,
        code=code_digest("handloom.estimators.detnet.pretraining"),
    script:
        "../scripts/pretrain_source.py"


rule write_source_card:
    """What a source network that was trained here is, how it was made and how well it does."""
    input:
        network=rules.pretrain_source.output.network,
        history=rules.pretrain_source.output.history,
        samples=rules.pretrain_source.input.samples,
    output:
        card="results/s2d/source/{setting}/card.md",
    log:
        "logs/write_source_card/{setting}.log",
    benchmark:
        "benchmarks/write_source_card/{setting}.tsv"
    wildcard_constraints:
        setting="|".join(TRAINED) or "none",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        pretraining=plain(RUN.pretraining),
        provenance=lambda wildcards: source_provenance(RUN, wildcards.setting)._asdict(),
        code=code_digest("handloom.estimators.detnet.source_card"),
    script:
        "../scripts/write_source_card.py"


rule convert_source:
    """A configured checkpoint (released, shipped or your own), checked and written in handloom's format."""
    input:
        checkpoint=configured_checkpoint,
    output:
        network="results/s2d/source/{setting}/detnet.safetensors",
    log:
        "logs/convert_source/{setting}.log",
    benchmark:
        "benchmarks/convert_source/{setting}.tsv"
    wildcard_constraints:
        setting="|".join(sorted(set(SOURCES) - set(TRAINED))) or "none",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        detnet=plain(RUN.detnet),
        root_joint=lambda wildcards: SOURCES[wildcards.setting].root_joint,
        code=code_digest("handloom.estimators.detnet.checkpoint"),
    script:
        "../scripts/convert_source.py"
