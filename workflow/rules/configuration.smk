"""The package beside the workflow, and the first look at the configuration files."""

import shlex
import sys
from pathlib import Path

# The workflow runs the code that lies beside it, installed or not; one that snakemake fetches runs the installed.
SOURCE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1] / "src"
if SOURCE.is_dir():
    sys.path.insert(0, str(SOURCE))
# Snakemake writes the interpreter into jobs' commands as it is; one with a space in its path would end each of them.
sys.executable = shlex.quote(sys.executable)

from handloom.runtime.config.load import read_all
from handloom.runtime.errors import InputError


def or_end(function, *arguments, **named):
    """What a function makes of the settings; if it refuses them, the run ends with its words.

    It ends at once: of an ordinary error, or of a missing input, snakemake makes "take the outputs that are there",
    and those may be another configuration's, say the demo's.
    """
    try:
        return function(*arguments, **named)
    except InputError as error:
        sys.exit(f"handloom: {error}")


if workflow.is_main_process and workflow.modifier.parent_modifier is None:  # a module is given its configuration
    or_end(read_all, [Path("config.yaml"), *workflow.overwrite_configfiles])
