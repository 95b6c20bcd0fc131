"""Hand and object brought together."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.hand.configured_hand import configured_hand
    from handloom.reconstruction.alignment import align_hand_object
    from handloom.runtime.config.hand_tracking import HandTrackingSettings

    p, settings = snakemake.params, HandTrackingSettings.model_validate(snakemake.params.hand)
    paths = [*snakemake.input[:3], snakemake.output.aligned, snakemake.output.history]
    parts = settings.alignment, settings.registration, configured_hand(snakemake.input.get("hand"))
    align_hand_object(*parts, *map(Path, paths), masks=Path(snakemake.input.masks), seed=p.seed, code=p.code)
