"""Phase 1 or 3 of HOLD with the paper's networks."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.hand.configured_hand import configured_hand
    from handloom.reconstruction.holdnet.phases import HoldNetTrainingSettings, PhaseOutputs, train_holdnet_phase

    p, hand = snakemake.params, configured_hand(snakemake.input.get("hand"))
    settings, outputs = HoldNetTrainingSettings(**p.holdnet), PhaseOutputs(*map(Path, snakemake.output[:5]))
    start = {} if p.start == "build" else {p.start: Path(snakemake.input[2])}
    run = {"work": Path(p.work), "threads": snakemake.threads, **{name: p[name] for name in ("seed", "device", "code")}}
    train_holdnet_phase(settings, p.phase, hand, *map(Path, snakemake.input[:2]), **start, outputs=outputs, **run)
