"""Phase 1 or 3 of HOLD."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.hand.configured_hand import configured_hand
    from handloom.reconstruction.compact.phases import PhaseOutputs, train_phase
    from handloom.runtime.config.compact import CompactSettings

    p, hand = snakemake.params, configured_hand(snakemake.input.get("hand"))
    settings, outputs = CompactSettings.model_validate(p.compact), PhaseOutputs(*map(Path, snakemake.output[:5]))
    run = {"work": Path(p.work), "threads": snakemake.threads, **{name: p[name] for name in ("seed", "device", "code")}}
    train_phase(settings, p.phase, hand, *map(Path, snakemake.input[: p.files]), outputs=outputs, **run)
