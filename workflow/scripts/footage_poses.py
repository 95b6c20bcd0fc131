"""Fuse both views' poses of a camera pair."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.footage.fused_poses import FootagePairSettings, FootageSettings, fuse_poses

    p, files, made = snakemake.params, snakemake.input, map(Path, snakemake.output)
    settings = FootageSettings.model_validate(p.footage), FootagePairSettings.model_validate(p.pair)
    views = (tuple(map(Path, each)) for each in (files.frames, files.lists, files.hands))
    read = (Path(path) for path in (files.pairs, files.source, files.network, files.rotation))
    fuse_poses(*settings, *views, *read, *made, device=p.device, threads=snakemake.threads, code=p.code)
