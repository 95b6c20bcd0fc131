"""Draw hands before and after adaptation."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.figures.other_networks import other_networks
    from handloom.figures.qualitative import HeadsetResults, draw_qualitative

    p, read = snakemake.params, snakemake.input
    results = [HeadsetResults.of(headset, dict(read.items())) for headset in p.headsets]
    run = {"setting": p.setting, "root_joint": p.root_joint, "seed": p.seed, "note": p.note}
    others = other_networks(read.get("handoccnet") or None, read.get("hand") or None, p.handoccnet)
    draw_qualitative(results, Path(snakemake.output.picture), others=others, **run)
