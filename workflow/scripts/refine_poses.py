"""Phase 2 of HOLD."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.hand.configured_hand import configured_hand
    from handloom.reconstruction.compact.phases import refine_poses
    from handloom.runtime.config.refinement import RefinementSettings

    p, hand = snakemake.params, configured_hand(snakemake.input.get("hand"))
    paths = [*snakemake.input[:3], snakemake.output.poses, snakemake.output.history]
    settings, run = RefinementSettings.model_validate(p.refinement), {"device": p.device, "code": p.code}
    refine_poses(settings, p.cube_margin, hand, *map(Path, paths), threads=snakemake.threads, **run)
