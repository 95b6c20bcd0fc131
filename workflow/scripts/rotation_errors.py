"""Draw the rotation errors of all camera pairs."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.figures.rotation_error import draw_rotation_errors

    rotations, scores = ([Path(path) for path in files] for files in (snakemake.input.rotations, snakemake.input.scores))
    draw_rotation_errors(rotations, scores, Path(snakemake.output.picture))
