"""Estimate the first rotations of all camera pairs of a headset."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.adaptation.rotation_start import start_rotations
    from handloom.runtime.config.adaptation import AdaptationSettings

    params, views = snakemake.params, [Path(path) for path in snakemake.input.views]
    settings, headset = AdaptationSettings.model_validate(params.adaptation), snakemake.wildcards.headset
    run = {name: params[name] for name in ("root_joint", "fidelity", "ray_share")}
    files = (Path(snakemake.input.predictions), views, Path(snakemake.output.rotations))
    start_rotations(settings, *files, headset=headset, **run)
