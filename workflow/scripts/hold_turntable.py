"""Hand and object turning, and over the frames, as videos."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.figures.hold_videos import write_overlay_video, write_turntable

    inputs = [Path(path) for path in snakemake.input[:3]]
    write_turntable(*inputs, Path(snakemake.output.turntable))
    write_overlay_video(*inputs, Path(snakemake.output.overlay))
