"""Write the card of a source network that was trained here."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.estimators.detnet.provenance import Provenance
    from handloom.estimators.detnet.source_card import write_card
    from handloom.runtime.config.detnet import PretrainingSettings

    files, p = snakemake.input, snakemake.params
    samples, output = [Path(path) for path in files.samples], Path(snakemake.output.card)
    facts = {"settings": PretrainingSettings.model_validate(p.pretraining), "provenance": Provenance(**p.provenance)}
    write_card(Path(files.network), Path(files.history), samples, output, **facts)
