"""Train a source network."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.estimators.detnet.pretraining import PretrainingOutputs, pretrain
    from handloom.runtime.config.detnet import DetNetSettings, PretrainingSettings

    p = snakemake.params
    detnet, settings = DetNetSettings.model_validate(p.detnet), PretrainingSettings.model_validate(p.pretraining)
    outputs = PretrainingOutputs(Path(snakemake.output.network), Path(snakemake.output.history))
    run = {"root_joint": p.root_joint, "seed": settings.seed, "device": p.device, "code": p.code}
    pretrain(detnet, settings, [Path(path) for path in snakemake.input.samples], outputs, **run)
