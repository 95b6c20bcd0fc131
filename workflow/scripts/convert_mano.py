"""Convert the user's MANO pickles."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.hand.mano_files import convert_mano

    convert_mano(Path(snakemake.input.right).parent, Path(snakemake.output.right).parent)
