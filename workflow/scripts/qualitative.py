"""Draw hands before and after adaptation."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.figures.qualitative import HeadsetResults, draw_qualitative

    p, lists, results = snakemake.params, ("views", "predictions"), []
    for headset in p.headsets:
        files = {name: [Path(x) for x in paths if f"/{headset}/" in x] for name, paths in snakemake.input.items()}
        results.append(HeadsetResults(headset, **{n: found if n in lists else found[0] for n, found in files.items()}))
    run = {"setting": p.setting, "root_joint": p.root_joint, "seed": p.seed}
    draw_qualitative(results, Path(snakemake.output.picture), **run)
