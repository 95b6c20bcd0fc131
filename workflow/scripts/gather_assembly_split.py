"""Write the annotation files of one split of the demo's AssemblyHands-ego."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.demo.assembly_hands import gather_assembly_split
    from handloom.runtime.config.datasets import DemoSettings

    demo, split = DemoSettings.model_validate(snakemake.params.demo), snakemake.wildcards.split
    sequences = [Path(path) for path in snakemake.input.sequences]
    gather_assembly_split(demo, split, sequences, Path(snakemake.output.data).parent, snakemake.params.version)
