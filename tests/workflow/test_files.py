"""The workflow's files: format, lint, size of scripts, what every rule declares, environments, profiles."""

import ast
import re
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from handloom.runtime.config.load import load_settings

from .project import ROOT, Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

RULES = {
    name: body
    for path in sorted((ROOT / "workflow/rules").glob("*.smk"))
    for name, body in re.findall(
        r"^ *(?:use rule stage as|rule) (\w+)(?: with)?:\n(.*?)(?=^ *(?:use )?rule |\Z)",
        path.read_text(),
        flags=re.S | re.M,
    )
}
PLANNED_PAPER = [sys.executable, "-m", "snakemake", "--dry-run", "--configfile", "config/paper.yaml"]
ALONE = {
    "stage",
    "check",
    "footage",
    "all",
}  # what all inherit, what prints, and what gathers, which no benchmark measures
ANNOTATIONS = ("ego_data", "ego_calib", "joint_3d")


def test_lint_and_format_are_clean(fresh: Callable[[str], Project]) -> None:
    project = fresh("lint")
    assert "good condition" in project.run([sys.executable, "-m", "snakemake", "--lint"])
    project.run([sys.executable, "-m", "snakefmt", "--check", "Snakefile", "workflow"])


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_a_bare_dry_run_lists_jobs(fresh: Callable[[str], Project], snakefile: str) -> None:
    """A root Snakefile that only includes another has no default target and does nothing, silently."""
    output = fresh("bare").run([sys.executable, "-m", "snakemake", "--dry-run", "-s", snakefile])
    assert int(re.findall(r"^adapt +(\d+)$", output, flags=re.M)[0]) > 10


def test_the_paper_preset_is_planned(fresh: Callable[[str], Project]) -> None:
    project = fresh("paper")
    for number in (37, 68):
        path = project.folder / f"data/checkpoints/ckp_detnet_{number}.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"something")
    (project.folder / "data/mano").mkdir()
    for side in ("RIGHT", "LEFT"):
        (project.folder / f"data/mano/MANO_{side}.pkl").write_bytes(b"something")
    folder = project.folder / "data/assemblyhands/annotations/val"
    folder.mkdir(parents=True)
    for kind in ANNOTATIONS:
        (folder / f"assemblyhands_val_{kind}_v1-1.json").write_bytes(b"something")
    for name in load_settings(ROOT / "config.yaml", ROOT / "config/paper.yaml").hold.chosen:
        for part in ("rgb", "meta", "seg"):
            path = project.folder / "data/HO3D_v3/train" / name / part / "0000"
            path.parent.mkdir(parents=True)
            path.write_bytes(b"something")
    (project.folder / "data/HO3D_v3/models").mkdir()
    command = [*PLANNED_PAPER, "--config", "device=cpu"]
    output = project.run(command)
    assert int(re.findall(r"^adapt +(\d+)$", output, flags=re.M)[0]) == 24  # a camera pair each, with all seeds


@pytest.mark.parametrize(
    ("target", "file", "name", "home"),
    [
        (
            "results/tables/s2d_in.csv",
            "data/assemblyhands/annotations/val/assemblyhands_val_ego_data_v1-1.json",
            "AssemblyHands-ego (licence: CC BY-NC 4.0)",
            "https://assemblyhands.github.io",
        ),
        ("results/s2d/training/rhd.npz", "data/RHD/RHD_published_v2/training", "RHD", "uni-freiburg.de"),
        ("results/s2d/training/ganerated.npz", "data/GANeratedHands_Release/data", "GANerated", "mpi-inf.mpg.de"),
        (
            "results/s2d/source/in/detnet.safetensors",
            "data/checkpoints/ckp_detnet_37.pth",
            "DetNet checkpoint",
            "https://github.com/ut-vision/S2DHand",
        ),
        (
            "results/hold/ABF12/frames.json",
            "data/HO3D_v3/train/ABF12",
            "HO3D-v3 ABF12 (licence: academic research only",
            "https://www.tugraz.at/index.php?id=40231",
        ),
        ("resources/mano/mano_right.npz", "data/mano/MANO_RIGHT.pkl", "MANO licence", "https://mano.is.tue.mpg.de"),
        ("all", "data/mano/MANO_RIGHT.pkl", "MANO licence", "https://mano.is.tue.mpg.de"),
    ],
)
def test_missing_real_data_are_named_with_licence_and_home(
    fresh: Callable[[str], Project], target: str, file: str, name: str, home: str
) -> None:
    command = [*PLANNED_PAPER, "--config", "device=cpu", "--", target]
    output = fresh("missing").run(command, fails=True)
    for words in (f"leads to {file}, which does not exist", name, home, "`snakemake --cores 1 check`"):
        assert words in output


@pytest.mark.parametrize("target", ["all", "results/tables/s2d_in.csv", "results/s2d/in/headset1/rotations.json"])
def test_results_of_another_configuration_do_not_stand_in_for_missing_data(
    fresh: Callable[[str], Project], target: str
) -> None:
    """Snakemake takes a file whose inputs are missing as it is: the demo's crops would become the paper's table."""
    project = fresh("left_over")
    crops = [f"views/val/headset{h}/camera{c}.npz" for h in (1, 2) for c in (1, 2, 3, 4)]
    scores = [f"{setting}/headset{h}/scores.csv" for setting in ("in", "cross") for h in (1, 2)]
    for name in ("views/val/invalid.txt", *crops, *scores):
        path = project.folder / "results/s2d" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"something")
    output = project.run([*PLANNED_PAPER, "--config", "device=cpu", "--", target], fails=True)
    assert "does not exist" in output
    assert "`snakemake --cores 1 check`" in output


def test_a_gpu_that_is_not_there_is_told_at_once_but_not_where_a_cluster_may_have_it(
    fresh: Callable[[str], Project],
) -> None:
    project = fresh("gpu")
    target = ("results/s2d/in/headset1/source_predictions.npz", "--dry-run", "--config", "device=cuda:99")
    assert "device: is cuda:99, but" in project.snakemake(*target, fails=True)
    project.snakemake("--workflow-profile", "slurm", *target)
    project.snakemake("check", "--config", "device=cuda:99")


def test_configuration_files_are_read_by_handloom_first(fresh: Callable[[str], Project]) -> None:
    """Snakemake alone ends in a traceback without the file's name, or does not end."""
    project = fresh("unreadable")
    (project.folder / "tiny.yaml").write_bytes("preset: mine\n".encode("utf-16"))
    output = project.snakemake("--dry-run", fails=True)
    assert "handloom: tiny.yaml: is UTF-16; save it as UTF-8 and run again" in output
    assert "Traceback" not in output
    (project.folder / "tiny.yaml").write_text("seeds: [1]\nseeds: [2]\n")
    assert "tiny.yaml: seeds is there twice, in lines 1 and 2" in project.snakemake(
        "--workflow-profile", "none", "--dry-run", fails=True
    )


def test_a_folder_with_spaces_and_braces_is_a_folder(fresh: Callable[[str], Project]) -> None:
    project = fresh("a b{c}")
    project.snakemake("resources/shipped/detnet_small_in.safetensors", "results/s2d/source/in/detnet.safetensors")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_jobs_ask_a_cluster_for_what_the_device_needs(fresh: Callable[[str], Project], device: str) -> None:
    """A job that asks for a GPU where none is used waits for one; for the papers' sizes, for a large machine."""
    output = fresh("slurm").snakemake("--workflow-profile", "slurm", "--dry-run", "--config", f"device={device}")
    adapt = re.findall(r"^rule adapt:$.*?^    resources: (.*?)$", output, flags=re.S | re.M)
    assert adapt
    for asked in adapt:
        assert ("mem_mb=24000," in asked, "gpu=1," in asked, "runtime=1440," in asked) == (3 * (device == "cuda",))
    assert ("gpu=1" in output) == (device == "cuda")


def test_partitions_are_named_in_the_slurm_profile_only() -> None:
    """One of those that it names has GPUs, so that jobs which ask for one find it and others go elsewhere."""
    others = [*(ROOT / "workflow").rglob("*.smk"), ROOT / "profiles/default/config.yaml", ROOT / "config.yaml"]
    assert not any("partition" in path.read_text() for path in others)
    named = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())["slurm-partition-config"]
    partitions = yaml.safe_load((ROOT / "profiles/slurm" / named).read_text())["partitions"]
    assert sorted(each.get("max_gpu", 0) > 0 for each in partitions.values()) == [False, True]


@pytest.mark.parametrize("profile", ["default", "slurm"])
def test_every_line_of_a_profile_has_its_reason(profile: str) -> None:
    lines = (ROOT / f"profiles/{profile}/config.yaml").read_text().splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"[a-z]", line)]
    assert keys
    assert all(lines[number - 1].startswith("#") for number in keys)


def test_scripts_are_short_and_belong_to_a_rule() -> None:
    scripts = sorted((ROOT / "workflow/scripts").glob("*.py"))
    written = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    assert {path.stem for path in scripts} == set(re.findall(r"scripts/(\w+)\.py", written))
    assert [path.name for path in scripts if len(path.read_text().splitlines()) > 15] == []


def test_all_but_a_few_rules_inherit_what_a_rule_has() -> None:
    """A rule that inherits nothing would go without log, environment, benchmark or resources."""
    plain = {
        name
        for path in (ROOT / "workflow/rules").glob("*.smk")
        for name in re.findall(r"^rule (\w+):", path.read_text(), flags=re.M)
    }
    assert plain == ALONE
    for part in ("log", "benchmark", "conda", "resources", "script"):
        assert re.search(rf"^ +{part}:$", RULES["stage"], flags=re.M), part


@pytest.mark.parametrize("rule", sorted(set(RULES) - ALONE))
def test_a_rule_says_what_is_its_own(rule: str) -> None:
    body = RULES[rule]
    assert body.lstrip().startswith('"""')
    parts = set(re.findall(r"^ +(\w+):$", body, flags=re.M))
    assert parts >= {"output", "params"}
    assert "pathvars" in parts or parts >= {"log", "benchmark"}, "two rules would share a log"
    assert re.search(r"\*\*(stage|steps)\(", body)
    outputs = re.search(r"^ +output:\n((?: {8,}.*\n)+)", body, flags=re.M)
    assert outputs is not None
    assert re.match(r" +(\w+=|\*\*)", outputs[1]), "outputs are named"


def test_the_environment_has_the_versions_of_the_package() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((ROOT / "envs/handloom.yaml").read_text())["dependencies"]
    pip = next(each["pip"] for each in environment if isinstance(each, dict))
    assert sorted(pip) == sorted(package["dependencies"])
    minimum = package["requires-python"].removeprefix(">=")
    assert f"python={minimum}" in environment


def imported_names(path: Path) -> set[str]:
    """The packages that a file imports anywhere; words of docstrings do not count."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names}


def test_everything_imported_is_a_dependency_and_the_other_way_round() -> None:
    distributions = packages_distributions()
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {Requirement(line).name.lower() for line in package["dependencies"]}
    imported = {
        distributions[name][0].lower().replace("_", "-")
        for path in (ROOT / "src").rglob("*.py")
        for name in imported_names(path)
        if name not in sys.stdlib_module_names and name != "handloom"
    }
    assert imported - declared == set()
    assert declared - imported == {"snakemake", "pygments"}  # the workflow itself, and its report


def test_pinned_versions_satisfy_the_package() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.lower().replace("_", "-").split("==") for line in lines if line and not line.startswith("#"))
    wanted = package["dependencies"] + [each for extra in package["optional-dependencies"].values() for each in extra]
    for requirement in map(Requirement, wanted):
        assert requirement.name.lower() in pins, requirement
        assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement
