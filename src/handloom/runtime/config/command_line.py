"""The configuration files that a snakemake command names, read before snakemake reads them.

Snakemake opens `--configfile` before it looks at the workflow, and ends with its own words, or not at all, at files
that are no text, pipes, nested deep or made to explode. The profiles call `refuse_unreadable`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from handloom.runtime.config.load import read_all
from handloom.runtime.errors import InputError


def named_files(arguments: Sequence[str]) -> list[Path]:
    """The files that `--configfile` names, as snakemake's own parser takes them."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", type=Path, default=[])
    before = list(arguments)[: arguments.index("--")] if "--" in arguments else arguments
    try:
        return list(parser.parse_known_args(before)[0].configfile)
    except (argparse.ArgumentError, SystemExit):  # snakemake says what is wrong with its arguments
        return []


def refuse_unreadable(arguments: Sequence[str]) -> None:
    """End the process with what is wrong with the files that `--configfile` names."""
    try:
        read_all(named_files(arguments))
    except InputError as error:
        sys.exit(f"handloom: {error}")
