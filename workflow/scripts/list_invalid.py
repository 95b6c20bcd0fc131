"""List the hands of a split that are too hidden to use."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.datasets.invalid_list import list_invalid
    from handloom.runtime.config.datasets import AssemblyHandsSettings

    dataset = AssemblyHandsSettings.model_validate(snakemake.params.dataset)
    list_invalid(dataset, Path(snakemake.output.invalid), split=snakemake.wildcards.split)
