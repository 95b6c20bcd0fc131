"""Print the table of assets."""

from pathlib import Path

from handloom.runtime.assets import print_assets
from handloom.runtime.config.load import settings_from

print_assets(settings_from(snakemake.params.config), Path())
