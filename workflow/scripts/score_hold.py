"""Scores of a phase."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.evaluation.hold_scores import score_hold_sequence

    p, wildcards = snakemake.params, snakemake.wildcards
    paths = map(Path, [*snakemake.input[:2], *snakemake.output[:2]])
    run = {"protocol": p.protocol, "seed": p.seed, "variant": wildcards.phase}
    score_hold_sequence(*paths, sequence=wildcards.sequence, **run)
