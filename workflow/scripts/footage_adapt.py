"""Adapt a network to the user's own camera pair."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.footage.pair_adaptation import FootagePairSettings, FootageSettings, adapt_footage

    p, files, made = snakemake.params, snakemake.input, list(map(Path, snakemake.output))
    settings = FootageSettings.model_validate(p.footage), FootagePairSettings.model_validate(p.pair)
    views = tuple(map(Path, files.frames)), tuple(map(Path, files.hands))
    run = {"device": p.device, "threads": snakemake.threads, "code": p.code, "work": made[0].parent / "work"}
    adapt_footage(*settings, snakemake.wildcards.rig, *views, Path(files.pairs), Path(files.source), *made, **run)
