"""Take MediaPipe's networks out of its Python package."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.estimators.mediapipe.package_weights import fetch_weights

    fetch_weights(Path(snakemake.output.landmarks), Path(snakemake.output.palms))
