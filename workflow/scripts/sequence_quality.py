"""How well the stages did on a sequence."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.evaluation.sequence_quality import StageFiles, write_sequence_quality
    from handloom.hand.configured_hand import configured_hand

    files = StageFiles(*map(Path, snakemake.input[:6]))
    hand, table = configured_hand(snakemake.input.get("hand")), Path(snakemake.output.table)
    write_sequence_quality(files, hand, table, sequence=snakemake.wildcards.sequence)
