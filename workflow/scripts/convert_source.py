"""Check a configured checkpoint and write it in handloom's format."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.estimators.detnet.checkpoint import convert_checkpoint
    from handloom.runtime.config.detnet import DetNetSettings

    checkpoint, output = Path(snakemake.input.checkpoint), Path(snakemake.output.network)
    detnet = DetNetSettings.model_validate(snakemake.params.detnet)
    convert_checkpoint(checkpoint, output, detnet, snakemake.params.root_joint)
