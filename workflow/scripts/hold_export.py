"""Meshes, poses and a page to turn them on."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.figures.mesh_export import export_meshes
    from handloom.figures.mesh_page import write_mesh_page

    inputs = [Path(path) for path in snakemake.input[:3]]
    export_meshes(*inputs, Path(snakemake.output.glb).parent, code=snakemake.params.code)
    write_mesh_page(*inputs, Path(snakemake.output.page), sequence=snakemake.wildcards.sequence)
