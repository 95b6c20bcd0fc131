"""The methods' table in the plan: asked for by name, one job per adaptation, source data only where needed."""

import re
import sys

import pytest

from .project import Project, copied_project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow_fresh")]

TABLE = "results/tables/s2d_methods.csv"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """In which nothing is ever run."""
    return copied_project(tmp_path_factory.mktemp("methods"))


def planned(output: str) -> dict[str, int]:
    """Jobs by rule, from the table that a dry run prints."""
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", output, flags=re.M)}


def dry_run(project: Project, *arguments: str) -> dict[str, int]:
    return planned(project.run([sys.executable, "-m", "snakemake", "--dry-run", *arguments]))


def test_the_table_is_no_part_of_the_default_target(project: Project) -> None:
    jobs = dry_run(project)
    assert "adapt" in jobs
    assert "adapt_method" not in jobs


def test_every_method_budget_pair_headset_and_seed_is_one_adaptation(project: Project) -> None:
    methods = "methods={'names':['fine_tune','regda'],'long_names':['regda'],'pairs':['1-4','2-3']}"
    jobs = dry_run(project, TABLE, "--config", "seeds=[1,2,3]", methods)
    assert jobs["adapt_method"] == (2 + 1) * 2 * 2 * 3
    assert jobs["adapt"] == 2 * 2  # all seeds and variants of a pair in one job
    assert jobs["score_methods"] == 2
    assert jobs["prepare_training_samples"] == 2


def test_source_free_methods_need_no_source_data(project: Project) -> None:
    jobs = dry_run(project, TABLE, "--config", "methods={'names':['fine_tune','sfdahpe'],'long_names':[]}")
    assert jobs["adapt_method"] > 0
    assert not {"prepare_training_samples", "render_rhd"} & set(jobs)


def test_a_long_budget_of_a_method_that_is_left_out_is_refused(project: Project) -> None:
    command = [sys.executable, "-m", "snakemake", TABLE, "--dry-run", "--config", "methods={'names':['fine_tune']}"]
    output = project.run(command, fails=True)
    assert "methods.long_names: has ['adda', 'regda', 'sfdahpe'], which names lacks" in output
