"""Adapt the cross-dataset source network to one camera pair by one method."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.adaptation.methods import adapt_method as stage

    p, n, i, out = snakemake.params, snakemake.wildcards, snakemake.input, snakemake.output
    settings = [kind.model_validate(p[name]) for name, kind in stage.SETTINGS.items()]
    files = stage.MethodInputs(*map(Path, i[:4]), [*map(Path, i.samples)]), stage.MethodOutputs(*map(Path, out))
    run = {name: p[name] for name in ("root_joint", "fidelity", "ray_share", "device")}
    run |= {"work": files[1].weights.parent / "work", "seed": int(n.seed), "threads": snakemake.threads}
    stage.adapt_method(n.method, n.budget, n.pair, *settings, *files, code=p.code + p.method_code, **run)
