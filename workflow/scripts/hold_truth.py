"""The annotation of a sequence."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.datasets.hold_truth import write_truth
    from handloom.hand.configured_hand import configured_hand
    from handloom.runtime.config.hold import HoldSequenceSettings

    sequence = HoldSequenceSettings.model_validate(snakemake.params.sequence)
    hand = configured_hand(snakemake.input.get("hand"))
    write_truth(sequence, hand, Path(snakemake.input.list), Path(snakemake.output.truth))
