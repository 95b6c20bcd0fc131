"""Others build on it: as a package from a wheel or a source archive, and as a module of their own workflow."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
from pathlib import Path

import pytest

from .project import PARTS, ROOT, Project, copied_project
from .test_runs import planned

_MODULE = """
configfile: "config/config.yaml"

module hands:
    snakefile: "{folder}/workflow/Snakefile"
    config: config

use rule * from hands as hands_*
"""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source archive, built from a copy without network."""
    folder = tmp_path_factory.mktemp("built")
    for part in (*PARTS, "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    for egg in folder.glob("src/*.egg-info"):
        shutil.rmtree(egg)
    build = "from setuptools import build_meta as b; b.build_wheel('dist'); b.build_sdist('dist')"
    (folder / "dist").mkdir()
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True)
    (wheel,), (archive,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    return wheel, archive


def test_the_installed_wheel_has_its_data_and_checks_a_configuration(
    distributions: tuple[Path, Path], tmp_path: Path
) -> None:
    """In an environment of its own, which takes all other packages from the present one."""
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    python = tmp_path / "venv/bin/python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", distributions[0]]
    subprocess.run(install, check=True)
    site = next((tmp_path / "venv/lib").glob("python*/site-packages"))
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    shutil.copy(ROOT / "config.yaml", tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = "import handloom.__main__ as m; print(m.__file__); raise SystemExit(m.main(['check']))"
    done = subprocess.run(
        [python, "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout
    assert "all that it needs is there" in done.stdout  # the networks that it ships are found


def test_the_source_archive_holds_the_package_with_its_data_and_the_workflow(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    data = {f"src/handloom/data/{path.name}" for path in (ROOT / "src/handloom/data").glob("*") if path.is_file()}
    assert names >= data | {"Snakefile", "config.yaml", "workflow/Snakefile", "profiles/default/config.yaml"}


def test_changelog_citation_and_package_have_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version} - 20" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow_fresh")
def test_another_workflow_takes_it_as_a_module_laid_out_by_snakedeploy(tmp_path: Path) -> None:
    """`snakedeploy deploy-workflow` copies config/ and writes workflow/Snakefile with the module's declaration."""
    source = copied_project(tmp_path / "source")
    own = Project(tmp_path / "own")
    shutil.copytree(source.folder / "config", own.folder / "config")
    (own.folder / "workflow").mkdir()
    (own.folder / "workflow/Snakefile").write_text(_MODULE.format(folder=source.folder))
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    target = "results/s2d/source/in/detnet.safetensors"
    own.run([*command, target])
    assert (own.folder / target).is_file()
    rules = planned(own.run([*command, "--dry-run", "results/tables/s2d_cross.csv", "results/tables/hold.csv"]))
    assert rules >= {"hands_crop_views", "hands_adapt", "hands_train_phase", "hands_hold_table"}
