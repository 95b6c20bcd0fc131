"""Real runs of the workflow: what is made, what runs again and what does not, and what is refused."""

import csv
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..browser import looked_at, needs_chromium
from .project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

TABLE_COLUMNS = [
    *("headset", "pair", "metric", "baseline_mm", "s2dhand_mm", "s2dhand_std_mm", "s2dhand_plus_mm", "reduction_pct"),
    *("seeds", "paper_baseline_mm", "paper_s2dhand_mm"),
]
HOLD_COLUMNS = [
    *("method", "sequence", "mpjpe_mm", "chamfer_cm2", "f5_pct", "f10_pct", "chamfer_hand_cm2", "mrrpe_mm"),
    *("coverage_pct", "seconds"),
]
DESCENDANTS = {"adapt", "s2d_table", "s2d_plots", "all"}


@contextmanager
def edited(path: Path, before: str, after: str) -> Iterator[None]:
    """Replace the first occurrence of a text in a file for a while."""
    text = path.read_text()
    assert before in text, f"{before!r} is not in {path}; this test needs another place to edit"
    path.write_text(text.replace(before, after, 1))
    try:
        yield
    finally:
        path.write_text(text)


def planned(output: str) -> set[str]:
    """The rules in the table of jobs that a dry run prints."""
    return set(re.findall(r"^(\w+) +\d+$", output, flags=re.MULTILINE)) - {"total"}


def test_a_run_makes_both_tables_with_all_their_columns(built: Project) -> None:
    for setting in ("in", "cross"):
        with (built.folder / f"results/tables/s2d_{setting}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert set(TABLE_COLUMNS) <= set(rows[0])
        measured = [row for row in rows if row["pair"] == "1-2"]
        measured = [row for row in measured if row["headset"] == "headset1"]
        assert {row["metric"] for row in measured} == {"mono_m", "dual_m"}
        assert all(0 < float(row["baseline_mm"]) < 1000 and float(row["s2dhand_mm"]) > 0 for row in measured)
        for suffix in ("md", "html"):
            assert (built.folder / f"results/tables/s2d_{setting}.{suffix}").stat().st_size > 500


def test_a_run_reconstructs_the_sequences_and_scores_them(built: Project) -> None:
    """The whole of HOLD at toy size: every stage runs, and both tables have their rows, columns and figures."""
    with (built.folder / "results/tables/hold.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "HOLD"]
    assert [row["sequence"] for row in rows] == ["jug1", "mean"]
    assert list(rows[0])[: len(HOLD_COLUMNS)] == HOLD_COLUMNS
    for name in HOLD_COLUMNS[2:]:
        assert float(rows[0][name]) >= 0, name
    with (built.folder / "results/tables/hold_ablation.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) >= 3
    folder = built.folder / "results/hold/jug1"
    for name in ("build/data.npy", "phase3/export/object.glb", "phase3/scene.html", "masks.png", "object_poses.png"):
        assert (folder / name).stat().st_size > 1000, name
    assert list((folder / "phase3/previews").glob("step-*.png"))
    assert not list(folder.glob("*/work/*")), "checkpoints of finished trainings stay"
    assert (built.folder / "results/figures/hold/jug1.png").stat().st_size > 10_000


def test_the_cost_of_every_rule_is_told(built: Project) -> None:
    with (built.folder / "results/tables/cost.csv").open(newline="") as file:
        rules = {row["rule"]: row for row in csv.DictReader(file)}
    assert {"adapt", "crop_views", "render_assembly_split", "s2d_table"} <= set(rules)
    assert int(rules["adapt"]["jobs"]) == 2  # a pair each, with all seeds and variants
    assert float(rules["adapt"]["seconds"]) > 0


def test_no_temporary_file_stays(built: Project) -> None:
    assert [path for path in (built.folder / "results").rglob("*") if ".tmp" in path.name or path.name == "work"] == []


def test_a_finished_run_started_again_does_nothing_and_says_so(built: Project) -> None:
    assert "Nothing to be done" in built.snakemake()


@pytest.mark.parametrize(
    ("change", "runs", "stays"),
    [
        ("adaptation={'learning_rate': 0.0123}", DESCENDANTS, {"crop_views", "predict_source"}),
        ("seeds=[1, 2]", {"adapt", "s2d_table"}, {"crop_views", "predict_source", "train_phase"}),
        ("pairs=['1-2', '1-3']", {"adapt", "s2d_table"}, {"crop_views", "predict_source", "train_phase"}),
        (
            "hold={'hand': {'registration': {'iterations': 9}}}",
            {"build_sequence", "train_phase", "hold_table"},
            {"hand_estimates", "object_poses", "sequence_masks", "adapt"},
        ),
        (
            "hold={'refinement': {'steps': 5}}",
            {"refine_poses", "train_phase", "hold_table"},
            {"build_sequence", "adapt"},
        ),
        ("hold={'sequences': {'jug1': {'most': 9}}}", {"extract_frames", "sequence_masks", "train_phase"}, {"adapt"}),
    ],
)
def test_a_changed_setting_runs_again_what_depends_on_it(
    built: Project, change: str, runs: set[str], stays: set[str]
) -> None:
    found = planned(built.snakemake("--dry-run", "--config", change))
    assert found >= runs
    assert found.isdisjoint(stays | {"render_assembly_split", "render_hold_sequence"})


def test_another_checkpoint_in_its_place_is_noticed_though_it_is_older(built: Project) -> None:
    """Protects from results of a network that is no longer there; its copy, of any date, changes nothing."""
    path, other = built.folder / "cross.safetensors", built.folder / "in.safetensors"
    before = path.read_bytes()
    path.unlink()
    path.write_bytes(before)
    assert "Nothing to be done" in built.snakemake("--dry-run")
    try:
        path.write_bytes(other.read_bytes())
        os.utime(path, (1e9, 1e9))
        output = built.snakemake("--dry-run")
    finally:
        path.write_bytes(before)
    assert planned(output) >= {"convert_source", "predict_source", *DESCENDANTS}
    assert planned(output).isdisjoint({"crop_views", "list_invalid", "train_phase"})
    assert "setting=in" not in re.findall(r"^rule convert_source:$.*?^    wildcards: (.*?)$", output, flags=re.S | re.M)


def test_what_no_finished_stage_uses_runs_nothing_again(built: Project) -> None:
    """Protects hours of training from another backend's settings and from those that only say how a stage works."""
    hold = {
        "compact": {"checkpoint_seconds": 7},
        "holdnet": {"rays": 64},
        "sfm": {"hloc": {"features": "disk"}},
        "hand": {"estimation": {"metro": {"fidelity": "faithful"}, "mediapipe": {"palms": "own.tflite"}}},
    }
    changes = ["checkpoint_seconds=7", f"hold={hold}", "footage={'adaptation': {'epochs': 3}}"]
    assert "Nothing to be done" in built.snakemake("--dry-run", "--config", *changes)


def test_phase_3_s_settings_leave_phase_1_alone(built: Project) -> None:
    output = built.snakemake("--dry-run", "--config", "hold={'compact': {'phase3': {'steps': 13}}}")
    phases = re.findall(r"^ +wildcards: .*phase=(\w+)", output, flags=re.M)
    assert "train_phase" in planned(output)
    assert phases
    assert set(phases) <= {"phase3", "phase3_unrefined"}
    assert planned(output).isdisjoint({"refine_poses", "build_sequence", "adapt"})


def test_a_moved_project_has_nothing_to_do(built: Project, tmp_path: Path) -> None:
    assert "Nothing to be done" in built.copied(tmp_path / "renamed").snakemake("--dry-run")


def test_a_mistyped_checkpoint_is_refused_where_the_results_of_another_lie(built: Project) -> None:
    for name in ("data/nowhere.safetensors", "package:nothing.safetensors"):
        changed = f"hold={{'hand': {{'estimation': {{'checkpoint': '{name}'}}}}}}"
        output = built.snakemake("--dry-run", "--config", changed, fails=True)
        assert "hold.hand.estimation.checkpoint" in output
        assert name in output


def test_another_size_of_the_training_data_does_not_touch_the_test_data(built: Project) -> None:
    output = built.snakemake("--dry-run", "results/tables/s2d_in.csv", "--config", "demo={'rhd_training_images': 9}")
    assert "Nothing to be done" in output


def test_a_comment_in_imported_code_runs_nothing_again(built: Project) -> None:
    path = built.folder / "src/handloom/adaptation/s2dhand.py"
    with edited(path, "        return ", "        # a remark\n        return "):
        assert "Nothing to be done" in built.snakemake("--dry-run")


def test_a_formula_in_imported_code_runs_again_what_uses_it(built: Project) -> None:
    path = built.folder / "src/handloom/adaptation/s2dhand.py"
    with edited(path, "        return ", "        settled = 1\n        return "):
        output = built.snakemake("--dry-run")
    assert planned(output) >= DESCENDANTS
    assert planned(output).isdisjoint({"render_assembly_split", "crop_views", "predict_source"})


def test_a_changed_file_runs_again_what_reads_it(built: Project) -> None:
    output = built.snakemake("results/tables/s2d_in.csv", "--dry-run", "--forcerun", "predict_source")
    assert planned(output) == {"predict_source", "adapt", "s2d_table"}


def test_a_typo_in_the_configuration_is_refused_with_its_path(built: Project) -> None:
    output = built.snakemake("--dry-run", "--config", "adaptation={'learning_rat': 1}", fails=True)
    assert "adaptation.learning_rat: no such setting" in output


def test_another_preset_has_its_own_place_and_leaves_the_results_of_the_first_alone(built: Project) -> None:
    def state() -> dict[Path, int]:
        files = [
            path
            for folder in ("results", "resources", "logs", "benchmarks")
            for path in (built.folder / folder).rglob("*")
        ]
        return {path: path.stat().st_mtime_ns for path in files}

    before, target = state(), "results/s2d/source/in/detnet.safetensors"
    try:
        output = built.snakemake(target, "--config", "preset=mine")
        made = {str(path.relative_to(built.folder)) for path in (built.folder / "presets").rglob("*") if path.is_file()}
        assert "Nothing to be done" in built.snakemake(target, "--dry-run", "--config", "preset=mine")
        whole = built.snakemake("--dry-run", "--config", "preset=mine")
    finally:
        shutil.rmtree(built.folder / "presets", ignore_errors=True)
    assert (
        "results/ holds those of preset smoke; this run, of preset mine, has its own in presets/mine/results/" in output
    )
    job = "convert_source/in"
    assert made == {f"presets/mine/{path}" for path in (target, f"logs/{job}.log", f"benchmarks/{job}.tsv")}
    assert state() == before
    assert planned(whole) >= {"render_assembly_split", "adapt", "train_phase", "all"}
    named = re.findall(r"^    (?:input|output|log|benchmark): (.*)$", whole, flags=re.M)
    elsewhere = [path for line in named for path in line.split(", ") if path.startswith(("results/", "logs/", "bench"))]
    assert named
    assert elsewhere == []


@pytest.fixture(scope="module")
def report(built: Project) -> Path:
    """The report, made as the README has it, without --cores."""
    built.run([*built.command("--report", "report.html")[:-2]])
    return built.folder / "report.html"


def test_the_report_is_one_offline_file_with_tables_and_pictures(report: Path) -> None:
    page = report.read_text()
    for name in ("s2d_cross", "cost", "overview.html", "scene.html"):
        assert name in page
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']https?://", page)
    assert report.stat().st_size < 10_000_000


_OPENED = """
  await wait(1);
  const landing = document.body.textContent, shown = {};
  app.showCategory("Scenes"); await wait(0.5);
  document.querySelector("a[iconname=eye]").click(); await wait(1);
  const width = document.querySelector("iframe").clientWidth, pages = {};
  for (const [path, result] of Object.entries(results)) {
    if (!path.endsWith(".html")) continue;
    const bytes = Uint8Array.from(atob(result.data_uri.split("base64,")[1]), (letter) => letter.charCodeAt(0));
    const inner = document.createElement("iframe"), loaded = new Promise((done) => { inner.onload = done; });
    inner.width = width; inner.height = 900; inner.srcdoc = new TextDecoder().decode(bytes);
    document.body.append(inner); await loaded;
    const page = inner.contentDocument, canvas = page.querySelector("canvas");
    let drawn = null;
    if (canvas) {
      inner.contentWindow.dispatchEvent(new Event("resize"));
      const gl = canvas.getContext("webgl"), pixels = new Uint8Array(4 * canvas.width * canvas.height);
      gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
      drawn = pixels.filter((value, i) => i % 4 === 0 && Math.abs(value - 247) > 3).length / (pixels.length / 4);
    }
    const inside = (one) => (one.shadowRoot ? [...one.shadowRoot.children] : one);
    const tables = [...page.querySelectorAll("*")].flatMap(inside);
    pages[path] = { drawn, images: [...page.images].filter((image) => image.naturalWidth > 0).length,
                    tables: tables.filter((one) => one.tagName === "TABLE").length,
                    overflow: Math.max(...tables.map((one) => one.getBoundingClientRect().right)) - width };
    inner.remove();
  }
  return { landing, width, pages };
"""


@needs_chromium
def test_a_browser_shows_the_report_with_scenes_that_are_drawn_and_tables_that_fit(
    report: Path, tmp_path: Path
) -> None:
    found = looked_at(report, _OPENED, tmp_path, 1400, allowed="cdn.tailwindcss.com should not be used")
    for words in ("Start here", "HOLD", "MPJPE", "S2DHand", "Mono-M reduced by"):
        assert words in found["landing"]
    assert found["width"] > 900
    pages = found["pages"]
    (scene,) = [page for path, page in pages.items() if path.endswith("scene.html")]
    assert scene["drawn"] > 0.02
    overview = pages["results/overview.html"]
    assert overview["images"] >= 5
    assert overview["tables"] >= 4
    assert {path: page["overflow"] for path, page in pages.items() if page["overflow"] > 0} == {}


def test_the_asset_check_needs_nothing(built: Project) -> None:
    output = built.snakemake("check")
    for asset in ("AssemblyHands", "MANO_RIGHT", "GANerated", "DetNet checkpoint 37"):
        assert asset in output


def test_a_disk_that_fills_loses_nothing(fresh: Callable[[str], Project]) -> None:
    """A limit on file sizes stands in for the full disk."""
    project, target = fresh("full"), "results/s2d/source/in/detnet.safetensors"
    project.snakemake(target)
    size_kb = (project.folder / target).stat().st_size // 1024
    (project.folder / target).unlink()
    limited = ["bash", "-c", f'ulimit -f {size_kb // 2}; exec "$@"', "bash", *project.command(target)]
    output = project.run(limited, fails=True)
    assert f"no room to write {target}" in output
    assert "free some space and run again" in output
    left = {path.name for path in (project.folder / "results").rglob("*") if path.is_file()}
    assert left <= {"preset.txt"}
    project.snakemake(target)
    assert (project.folder / target).is_file()


def test_results_that_cannot_be_a_folder_are_named_before_anything_runs(fresh: Callable[[str], Project]) -> None:
    project = fresh("blocked")
    (project.folder / "results").write_text("in the way")
    output = project.snakemake("results/s2d/source/in/detnet.safetensors", fails=True)
    assert "results: a folder for results was expected, but results is a file; move it away and run again" in output
    assert "rule convert_source:" not in output
    assert (project.folder / "results").read_text() == "in the way"


def test_an_unfit_checkpoint_is_named_and_other_results_stay(fresh: Callable[[str], Project]) -> None:
    project, target = fresh("unfit"), "results/s2d/source/{}/detnet.safetensors"
    project.snakemake(target.format("cross"))
    made = (project.folder / target.format("cross")).read_bytes()
    both = [target.format("cross"), target.format("in")]
    output = project.snakemake(*both, "--config", "sources={'in': {'checkpoint': 'cross.safetensors'}}", fails=True)
    assert "cross.safetensors: was trained with root joint 9, but root joint 0 is configured" in output
    assert "set the source's `root_joint` to the checkpoint's, or name another checkpoint" in output
    assert not (project.folder / target.format("in")).exists()
    assert (project.folder / target.format("cross")).read_bytes() == made
