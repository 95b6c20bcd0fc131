"""The fused poses of a camera pair over its views, and as a skeleton."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.figures.footage_skeleton import write_skeleton
    from handloom.figures.footage_video import write_footage_video

    files, made = snakemake.input, snakemake.output
    views = tuple(map(Path, files.frames)), tuple(map(Path, files.hands))
    write_footage_video(Path(files.poses), *views, Path(made.video))
    write_skeleton(Path(files.poses), Path(made.skeleton))
