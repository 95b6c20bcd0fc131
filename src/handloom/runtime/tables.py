"""Reading CSV tables that the workflow wrote."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from handloom.runtime.errors import InputError


def read_table(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """A table with at least the given columns and one row; raises InputError when the file holds no such table."""
    try:
        table = pd.read_csv(path)
    except (FileNotFoundError, pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); run the rule that makes it again") from error
    missing = set(columns) - set(table)
    if missing:
        raise InputError(f"{path}: lacks the columns {sorted(missing)}; run the rule that makes it again")
    if table.empty:
        raise InputError(f"{path}: has no rows; run the rule that makes it again")
    return table
