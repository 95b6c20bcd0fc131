"""Render one of the demo's HOLD sequences."""

from pathlib import Path

from handloom.runtime.job import logged_job

if __name__ == "__main__":  # the worker processes import this file
    with logged_job(snakemake.log[0], threads=1):
        from handloom.demo.hold_sequences import render_hold_sequence
        from handloom.runtime.config.sequences import DemoSequencesSettings

        demo = DemoSequencesSettings.model_validate(snakemake.params.demo)
        folders = Path(snakemake.output.frames), Path(snakemake.output.model)
        render_hold_sequence(demo, snakemake.params.sequence, *folders, threads=snakemake.threads)
