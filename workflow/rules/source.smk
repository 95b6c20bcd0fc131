"""The source networks: a checkpoint that is configured, or one trained here on labelled data sets."""

from handloom.estimators.detnet.provenance import source_provenance


use rule stage as prepare_training_samples with:
    """The labelled crops of one data set, prepared once so that no epoch decodes an image."""
    input:
        training_data,
    output:
        samples="results/s2d/training/{dataset}.npz",
    pathvars:
        job="prepare_training_samples/{dataset}",
    resources:
        **needs(mem_mb=4000, runtime=240),
    params:
        **stage(
            lambda wildcards: LABELLED[wildcards.dataset].stage,
            settings=lambda wildcards: plain(getattr(DATASETS, wildcards.dataset)),
            input_px=RUN.detnet.input_px,
        ),


use rule stage as pretrain_source with:
    """DetNet trained with labels on the data sets of a setting; a killed training goes on from its last checkpoint."""
    input:
        on_device("results/s2d/source/{setting}/detnet.safetensors"),
        samples=lambda wildcards: collect(
            "results/s2d/training/{dataset}.npz",
            dataset=SOURCES[wildcards.setting].datasets,
        ),
        start=source_start,
    output:
        network="results/s2d/source/{setting}/detnet.safetensors",
        history="results/s2d/source/{setting}/history.csv",
    pathvars:
        job="pretrain_source/{setting}",
    wildcard_constraints:
        setting="|".join(TRAINED) or "none",
    threads: 8
    resources:
        **needs(mem_mb=4000, runtime=1440, gpu=1, with_gpu={"mem_mb": 32000, "runtime": 5760}),
        checkpoint_seconds=RUN.checkpoint_seconds,
    params:
        **stage(
            "estimators.detnet.pretraining:pretrain",
            detnet=RUN.detnet,
            pretraining=RUN.pretraining,
            root_joint=source_setting("root_joint"),
            device=RUN.device,
        ),


use rule stage as write_source_card with:
    """What a source network that was trained here is, how it was made and how well it does."""
    input:
        network=rules.pretrain_source.output.network,
        history=rules.pretrain_source.output.history,
        samples=rules.pretrain_source.input.samples,
    output:
        card="results/s2d/source/{setting}/card.md",
    pathvars:
        job="write_source_card/{setting}",
    wildcard_constraints:
        setting="|".join(TRAINED) or "none",
    resources:
        **needs(runtime=10),
    params:
        **stage(
            "estimators.detnet.source_card:write_source_card",
            pretraining=RUN.pretraining,
            provenance=lambda wildcards: source_provenance(RUN, wildcards.setting)._asdict(),
        ),


use rule stage as convert_source with:
    """A configured checkpoint (released, shipped or your own), checked and written in handloom's format."""
    input:
        checkpoint=brought_checkpoint,
    output:
        network="results/s2d/source/{setting}/detnet.safetensors",
    pathvars:
        job="convert_source/{setting}",
    wildcard_constraints:
        setting="|".join(sorted(set(SOURCES) - set(TRAINED))) or "none",
    resources:
        **needs(runtime=10),
    params:
        **stage(
            "estimators.detnet.checkpoint:convert_checkpoint",
            detnet=RUN.detnet,
            root_joint=source_setting("root_joint"),
            shipped=shipped_checkpoint,
            watched=contents_of(brought_checkpoint, besides=shipped_state),
        ),
