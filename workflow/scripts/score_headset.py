"""Score the networks of a headset."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.evaluation.scores import score_headset

    inputs, outputs, params, names = snakemake.input, snakemake.output, snakemake.params, snakemake.wildcards
    views, predictions = [Path(path) for path in inputs.views], [Path(path) for path in inputs.predictions]
    files = (views, Path(inputs.source_predictions), Path(inputs.rotations), predictions, *map(Path, outputs))
    run = {"setting": names.setting, "headset": names.headset, "pairs": params.pairs}
    score_headset(*files, **run, root_joint=params.root_joint, code=params.code)
