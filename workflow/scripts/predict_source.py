"""Run a source network over all crops of a headset."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.adaptation.source_prediction import predict_source
    from handloom.runtime.config.detnet import DetNetSettings

    params, views = snakemake.params, [Path(path) for path in snakemake.input.views]
    detnet, source = DetNetSettings.model_validate(params.detnet), Path(snakemake.input.source)
    run = {"root_joint": params.root_joint, "device": params.device, "code": params.code}
    predict_source(detnet, source, views, Path(snakemake.output.predictions), **run)
