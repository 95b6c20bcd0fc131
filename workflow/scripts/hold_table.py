"""The tables of HOLD."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.evaluation.hold_tables import write_hold_ablation, write_hold_table

    p, scores = snakemake.params, [Path(path) for path in snakemake.input.scores]
    write = write_hold_ablation if p.ablation else write_hold_table
    write(scores, *map(Path, snakemake.output[:3]), sequences=p.sequences, benchmarks=p.benchmarks)
