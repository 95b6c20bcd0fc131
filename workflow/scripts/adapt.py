"""Adapt a source network to one camera pair."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.adaptation.s2dhand import AdaptationSettings, DetNetSettings, adapt

    p, names, work = snakemake.params, snakemake.wildcards, Path(snakemake.output.network).parent / "work"
    settings, detnet = AdaptationSettings.model_validate(p.adaptation), DetNetSettings.model_validate(p.detnet)
    files = (*map(Path, snakemake.input), names.pair, names.variant, *map(Path, snakemake.output))
    run = {name: p[name] for name in ("root_joint", "fidelity", "ray_share", "device", "code")}
    adapt(settings, detnet, *files, work=work, seed=int(names.seed), threads=snakemake.threads, **run)
