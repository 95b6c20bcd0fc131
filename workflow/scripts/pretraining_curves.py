"""Draw the curves of the source networks' trainings."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.figures.curves import draw_pretraining_curves

    histories = zip(snakemake.params.settings, map(Path, snakemake.input.histories), strict=True)
    draw_pretraining_curves(dict(histories), Path(snakemake.output.picture))
