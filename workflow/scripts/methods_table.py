"""Gather the scores of the adaptation methods into their table."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.evaluation.methods_table import MethodsSettings, write_methods_table

    p, scores = snakemake.params, [Path(path) for path in snakemake.input.scores]
    settings = MethodsSettings.model_validate(p.methods)
    write_methods_table(scores, *map(Path, snakemake.output), settings=settings, fidelity=p.fidelity, preset=p.preset)
