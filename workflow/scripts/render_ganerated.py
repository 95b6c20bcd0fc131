"""Render the demo's GANerated Hands."""

from pathlib import Path

from handloom.runtime.job import logged_job

if __name__ == "__main__":  # the worker processes import this file
    with logged_job(snakemake.log[0], threads=1):
        from handloom.demo.ganerated import render_ganerated
        from handloom.runtime.config.datasets import DemoSettings

        demo = DemoSettings.model_validate(snakemake.params.demo)
        render_ganerated(demo, Path(snakemake.output.folder), threads=snakemake.threads)
