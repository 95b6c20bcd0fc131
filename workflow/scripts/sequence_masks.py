"""Masks of hand and object."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.reconstruction.sequence_inputs import sequence_masks
    from handloom.runtime.config.hold import HoldSequenceSettings

    sequence = HoldSequenceSettings.model_validate(snakemake.params.sequence)
    paths = [*snakemake.input[:2], snakemake.output.masks, snakemake.output.picture]
    sequence_masks(sequence, *map(Path, paths), device=snakemake.params.device)
