"""Joints of the hand in every frame."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.hand.configured_hand import configured_hand
    from handloom.reconstruction.hand_estimates import estimate_hands
    from handloom.runtime.config.hand_tracking import HandEstimationSettings

    p, hand = snakemake.params, configured_hand(snakemake.input.get("hand"))
    settings = HandEstimationSettings.model_validate(p.estimation)
    read = (snakemake.input[name] for name in ("frames", "masks", "checkpoint", "object_poses"))
    estimate_hands(settings, hand, *map(Path, read), Path(snakemake.output.estimates), device=p.device, code=p.code)
