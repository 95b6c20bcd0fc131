"""Find the hand in every frame of one view of a camera pair."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.figures.footage_hands import draw_hands_sheet
    from handloom.footage.view_hands import FootagePairSettings, FootageSettings, find_hands

    p, files, made = snakemake.params, snakemake.input, list(map(Path, snakemake.output))
    settings = FootageSettings.model_validate(p.footage), FootagePairSettings.model_validate(p.pair)
    frames, read = Path(files.frames), (Path(files.list), (files.network, files.palms), files.boxes)
    find_hands(*settings, snakemake.wildcards.view, frames, *read, made[0], device=p.device, threads=1, code=p.code)
    draw_hands_sheet(frames, *made)
