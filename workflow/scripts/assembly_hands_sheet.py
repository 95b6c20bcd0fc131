"""Draw a contact sheet of a split of the demo's AssemblyHands-ego."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.demo.contact_sheets import assembly_hands_sheet

    params, output = snakemake.params, Path(snakemake.output.picture)
    assembly_hands_sheet(Path(params.root), snakemake.wildcards.split, output, version=params.version)
