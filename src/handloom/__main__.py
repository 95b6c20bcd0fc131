"""`python -m handloom`: what is configured and found, the configuration's documents, and the conversion of MANO."""

import argparse
import sys
from pathlib import Path

from handloom.runtime.config.documents import documents
from handloom.runtime.config.load import load_settings
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_text


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m handloom", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="data sets, models and checkpoints: found or not, and what they enable")
    check.add_argument(
        "--configfile", type=Path, nargs="*", default=[], help="laid over config.yaml, as snakemake does"
    )
    schema = commands.add_parser(
        "schema", help="compare docs/settings.md, docs/quality.md and config.yaml's JSON schema with the models"
    )
    schema.add_argument("--write", action="store_true", help="write them again")
    mano = commands.add_parser("convert-mano", help="MANO_RIGHT.pkl and MANO_LEFT.pkl to npz, without chumpy")
    mano.add_argument("folder", type=Path, help="holds the two pickles")
    mano.add_argument("output", type=Path, help="gets mano_right.npz and mano_left.npz")
    parsed = parser.parse_args(arguments)
    try:
        if parsed.command == "convert-mano":
            return _convert_mano(parsed.folder, parsed.output)
        return _check(parsed.configfile) if parsed.command == "check" else _schema(parsed.write)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1


def _check(overlays: list[Path]) -> int:
    from handloom.check import missing, print_assets

    settings = load_settings(Path("config.yaml"), *overlays, more=lambda run: missing(run, Path()))
    print_assets(settings, Path())
    return 0


def _convert_mano(folder: Path, output: Path) -> int:
    from handloom.hand.mano_files import convert_mano

    pickles = folder / "MANO_RIGHT.pkl", folder / "MANO_LEFT.pkl"
    convert_mano(*pickles, output / "mano_right.npz", output / "mano_left.npz")
    return 0


def _schema(write: bool) -> int:
    from handloom.evaluation.quality_page import quality_page

    wanted = {**documents(Path()), Path("docs/quality.md"): quality_page()}
    stale = {path: text for path, text in wanted.items() if not path.is_file() or path.read_text() != text}
    for path, text in stale.items():
        if write:
            write_text(path, text)
        print(f"{path}: {'written' if write else 'out of step; python -m handloom schema --write'}")
    return 1 if stale and not write else 0


if __name__ == "__main__":
    sys.exit(main())
