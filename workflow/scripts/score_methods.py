"""Score the adaptation methods on a headset."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.evaluation.method_scores import Adapted, score_methods

    inputs, params = snakemake.input, snakemake.params
    files = [Path(path) for path in inputs.views], Path(inputs.source_predictions), Path(inputs.rotations)
    adapted = [Adapted(*map(Path, both)) for both in zip(inputs.predictions, params.benchmarks, strict=True)]
    run = {name: params[name] for name in ("pairs", "epochs", "adaptation_pairs", "batch_size", "root_joint")}
    score_methods(*files, adapted, Path(snakemake.output.scores), headset=snakemake.wildcards.headset, **run)
