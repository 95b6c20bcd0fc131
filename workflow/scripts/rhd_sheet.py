"""Draw a contact sheet of a split of the demo's Rendered Hand Pose."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.demo.contact_sheets import rhd_sheet

    rhd_sheet(Path(snakemake.input.folder), snakemake.wildcards.rhd_split, Path(snakemake.output.picture))
