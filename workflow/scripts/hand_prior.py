"""The first shape of HOLD-Net's hand."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.hand.configured_hand import configured_hand
    from handloom.reconstruction.holdnet.hand_prior import HandPriorSettings, SdfNetSettings, hand_prior

    p, given, made = snakemake.params, snakemake.input, snakemake.output
    settings, sizes, hand = HandPriorSettings(**p.prior), SdfNetSettings(**p.sizes), configured_hand(given.get("hand"))
    released = {"checkpoint": Path(given[1])} if settings.checkpoint else {}
    run = {"threads": snakemake.threads, **{name: p[name] for name in ("seed", "device", "code")}}
    hand_prior(settings, sizes, hand, Path(given[0]), *map(Path, made), **released, **run)
