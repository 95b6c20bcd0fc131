"""Gather the scores of a setting into its table."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.evaluation.tables import write_s2d_tables

    scores, outputs = [Path(path) for path in snakemake.input.scores], map(Path, snakemake.output)
    run = {"fidelity": snakemake.params.fidelity, "preset": snakemake.params.preset}
    write_s2d_tables(scores, *outputs, setting=snakemake.wildcards.setting, **run)
