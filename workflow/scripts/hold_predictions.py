"""What a phase predicts, in camera metres."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.hand.configured_hand import configured_hand
    from handloom.reconstruction.compact.predictions import write_predictions

    paths = map(Path, [*snakemake.input[:3], snakemake.output.predictions])
    write_predictions(configured_hand(snakemake.input.get("hand")), *paths, code=snakemake.params.code)
