"""Frames beside what was reconstructed."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.figures.hold_overlay import draw_hold_overlay

    paths = map(Path, [*snakemake.input[:3], snakemake.output.picture])
    draw_hold_overlay(*paths, sequence=snakemake.wildcards.sequence)
