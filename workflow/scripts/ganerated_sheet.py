"""Draw a contact sheet of the demo's GANerated Hands."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.demo.contact_sheets import ganerated_sheet

    ganerated_sheet(Path(snakemake.input.folder), Path(snakemake.output.picture))
