"""Extract the frames of one view of a camera pair."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.datasets.video import extract_frames
    from handloom.runtime.config.sequences import SequenceSettings

    sequence = SequenceSettings.model_validate(snakemake.params.sequence)
    extract_frames(sequence, Path(snakemake.output.frames), Path(snakemake.output.list))
