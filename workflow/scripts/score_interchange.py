"""Scores of another method's file."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.evaluation.interchange import score_interchange
    from handloom.hand.configured_hand import configured_hand

    p, wildcards, hand = snakemake.params, snakemake.wildcards, configured_hand(snakemake.input.get("hand"))
    given, outputs = map(Path, (snakemake.input.interchange, snakemake.input.truth)), map(Path, snakemake.output[:2])
    run = {"protocol": p.protocol, "seed": p.seed, "method": wildcards.method}
    score_interchange(*given, hand, *outputs, sequence=wildcards.sequence, **run)
