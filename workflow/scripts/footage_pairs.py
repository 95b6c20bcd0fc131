"""Pair the frames of the two views of a camera pair."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.figures.footage_pairing import draw_pairing
    from handloom.footage.pairing import FootagePairingSettings, pair_views

    p, rig, made = snakemake.params, snakemake.wildcards.rig, list(map(Path, snakemake.output))
    settings = FootagePairingSettings.model_validate(p.pairing)
    hands, lists = map(Path, snakemake.input.hands), map(Path, snakemake.input.lists)
    pair_views(settings, rig, p.pair["offset_s"], *hands, *lists, *made[:2], code=p.code)
    draw_pairing(*made[:2], tuple(map(Path, snakemake.input.hands)), made[2], name=rig)
