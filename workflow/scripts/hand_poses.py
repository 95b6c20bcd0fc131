"""Poses of the hand model."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.hand.configured_hand import configured_hand
    from handloom.reconstruction.hand_registration import register_hands
    from handloom.runtime.config.hand_tracking import HandRegistrationSettings

    p, hand = snakemake.params, configured_hand(snakemake.input.get("hand"))
    settings = HandRegistrationSettings.model_validate(p.registration)
    paths = [*snakemake.input[:2], snakemake.output.poses]
    register_hands(settings, hand, *map(Path, paths), seed=p.seed, code=p.code)
