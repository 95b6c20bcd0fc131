"""Render one recording of the demo's AssemblyHands-ego."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.demo.assembly_hands import render_assembly_sequence
    from handloom.runtime.config.datasets import DemoSettings

    demo = DemoSettings.model_validate(snakemake.params.demo)
    names, output = snakemake.wildcards, snakemake.output
    render_assembly_sequence(demo, names.split, names.sequence, Path(output.images), Path(output.annotations))
