"""The quality of all sequences in one table."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.evaluation.quality_table import write_quality_table

    write_quality_table([Path(path) for path in snakemake.input.parts], *map(Path, snakemake.output[:2]))
