"""Render one split of the demo's Rendered Hand Pose."""

from pathlib import Path

from handloom.runtime.job import logged_job

if __name__ == "__main__":  # the worker processes import this file
    with logged_job(snakemake.log[0], threads=1):
        from handloom.demo.rhd import render_rhd
        from handloom.runtime.config.datasets import DemoSettings

        demo = DemoSettings.model_validate(snakemake.params.demo)
        folder = Path(snakemake.output.folder)
        render_rhd(demo, snakemake.wildcards.rhd_split, folder, threads=snakemake.threads)
