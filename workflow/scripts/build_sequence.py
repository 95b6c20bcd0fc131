"""HOLD's build folder, and the hand's template."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.hand.configured_hand import configured_hand
    from handloom.reconstruction.sequence_build import build_sequence

    paths = [*snakemake.input[:5], snakemake.output.build]
    hand = configured_hand(snakemake.input.get("hand"))
    build_sequence(hand, *map(Path, paths), sequence=snakemake.wildcards.sequence)
