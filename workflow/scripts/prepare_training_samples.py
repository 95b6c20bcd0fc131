"""Prepare the labelled crops of one data set."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.datasets.training_samples import prepare_training_samples
    from handloom.runtime.config.datasets import DatasetsSettings

    params, output = snakemake.params, Path(snakemake.output.samples)
    datasets, name = DatasetsSettings.model_validate(params.datasets), snakemake.wildcards.dataset
    prepare_training_samples(datasets, output, dataset=name, input_px=params.input_px, code=params.code)
