"""Crop all hands that one camera of a headset sees."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.datasets.views import crop_views
    from handloom.runtime.config.datasets import AssemblyHandsSettings

    params, names = snakemake.params, snakemake.wildcards
    dataset = AssemblyHandsSettings.model_validate(params.dataset)
    where = {"split": names.split, "headset": names.headset, "camera_number": int(names.camera)}
    output = Path(snakemake.output.views)
    crop_views(dataset, Path(snakemake.input.invalid), output, **where, input_px=params.input_px, code=params.code)
