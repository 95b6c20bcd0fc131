"""Phase 1 or 3 of HOLD with the paper's networks; what only changes its cost is no parameter of the rule."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.hand.configured_hand import configured_hand
    from handloom.reconstruction.holdnet.phases import PhaseOutputs, phase_settings, train_holdnet_phase

    p, hand = snakemake.params, configured_hand(snakemake.input.get("hand"))
    settings = phase_settings(p.holdnet, snakemake.config["hold"].get("holdnet", {}))
    run = {"work": Path(p.work), "threads": snakemake.threads, **{name: p[name] for name in ("seed", "device", "code")}}
    run |= {"outputs": PhaseOutputs(*map(Path, snakemake.output[:5])), **{it: Path(snakemake.input[2]) for it in p.start}}
    train_holdnet_phase(settings, p.phase, hand, *map(Path, snakemake.input[:2]), **run)
