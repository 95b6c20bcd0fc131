"""The quality table of a camera pair."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.footage.quality import write_quality

    files = snakemake.input
    rest = (Path(path) for path in (files.pairing, files.rotation, files.poses, snakemake.output.table))
    write_quality(tuple(map(Path, files.hands)), *rest)
