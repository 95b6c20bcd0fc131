"""Sum up the benchmark files of all jobs."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.evaluation.cost import write_cost

    folder = Path("benchmarks")
    write_cost(sorted(folder.rglob("*.tsv")), folder, Path(snakemake.output.table))
