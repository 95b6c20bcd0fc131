"""Processor seconds that planning a run takes, and how many times those of importing Snakemake alone.

    python tools/benchmark_planning.py [arguments of snakemake, such as --configfile config/smoke.yaml]

Children's processor seconds, the least of three runs, so that other work on the machine disturbs little.
"""

import resource
import subprocess
import sys

RUNS = 3


def least_seconds(command: list[str]) -> float:
    """The least user and system seconds of a command over the runs."""
    seconds = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def main(arguments: list[str]) -> None:
    """Measure and print both and their ratio."""
    bare = least_seconds([sys.executable, "-c", "import snakemake.cli"])
    planned = least_seconds([sys.executable, "-m", "snakemake", "--dry-run", *arguments])
    print(f"importing Snakemake {bare:.1f} s, planning {planned:.1f} s: {planned / bare:.1f} times")


if __name__ == "__main__":
    main(sys.argv[1:])
