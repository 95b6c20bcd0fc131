"""Draw the curves of all adaptations."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.figures.curves import draw_adaptation_curves

    draw_adaptation_curves([Path(path) for path in snakemake.input.histories], Path(snakemake.output.picture))
