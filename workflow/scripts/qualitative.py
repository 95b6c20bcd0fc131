"""Draw hands before and after adaptation."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.figures.qualitative import HeadsetResults, draw_qualitative

    def of(headset):
        """The input files of one headset, by the names that HeadsetResults has for them."""
        chosen = {name: [Path(path) for path in paths if f"/{headset}/" in path] for name, paths in inputs.items()}
        return {name: paths if name in ("views", "predictions") else paths[0] for name, paths in chosen.items()}

    inputs, p = dict(snakemake.input.items()), snakemake.params
    results = [HeadsetResults(headset=headset, **of(headset)) for headset in p.headsets]
    output = Path(snakemake.output.picture)
    draw_qualitative(results, output, setting=p.setting, root_joint=p.root_joint, seed=p.seed)
