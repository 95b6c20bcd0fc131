"""Poses of the object."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.reconstruction.sequence_inputs import sequence_object_poses
    from handloom.runtime.config.hold import HoldSequenceSettings
    from handloom.runtime.config.sfm import SfmSettings

    p = snakemake.params
    settings = SfmSettings.model_validate(p.sfm), HoldSequenceSettings.model_validate(p.sequence)
    paths = [*snakemake.input[:3], snakemake.output.poses, snakemake.output.picture]
    sequence_object_poses(*settings, *map(Path, paths), seed=p.seed)
