"""Signed distances of the hand at rest."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.hand.configured_hand import configured_hand
    from handloom.reconstruction.compact.hand_template import template_of_build

    p, hand = snakemake.params, configured_hand(snakemake.input.get("hand"))
    template_of_build(hand, Path(snakemake.input[0]), Path(snakemake.output.template), cells=p.cells, code=p.code)
