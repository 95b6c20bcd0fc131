"""Typos, wrong types and impossible combinations are refused with the key's path; generated files are in step."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.base import Settings
from handloom.runtime.config.documents import documents
from handloom.runtime.config.footage import OWN_PAIRS, FootagePairSettings
from handloom.runtime.config.load import load_settings, merged, read_yaml, settings_from
from handloom.runtime.config.root import RunSettings
from handloom.runtime.config.sequences import SequenceSettings
from handloom.runtime.errors import InputError

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted(path for path in (ROOT / "config").glob("*.yaml") if not path.is_symlink())


VIDEO = {"kind": "video", "path": "a.mp4"}


def marked(prompts: Any) -> dict[str, Any]:
    return {**VIDEO, "masks": {"prompts": prompts}}


def changed(**overlay: Any) -> dict[str, Any]:
    return merged(read_yaml(ROOT / "config.yaml"), overlay)


def test_generated_files_are_in_step() -> None:
    for path, text in documents(ROOT).items():
        assert path.read_text() == text, f"{path} is out of step; run: python -m handloom schema --write"


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_a_preset_is_valid_names_itself_and_holds_only_differences(overlay: Path) -> None:
    settings = load_settings(ROOT / "config.yaml", overlay)
    assert settings.preset == overlay.stem
    base, over = read_yaml(ROOT / "config.yaml"), read_yaml(overlay)

    def same(below: Any, above: Any, path: str) -> list[str]:
        if isinstance(below, dict) and isinstance(above, dict):
            return [each for key in above for each in same(below.get(key), above[key], f"{path}.{key}".strip("."))]
        return [path] if below == above else []

    # The published schedules are spelled out in full, so that a change of the demo's never reaches them.
    published = ("pretraining.", "adaptation.") if overlay.stem == "paper" else ()
    assert [path for path in same(base, over, "") if not path.startswith(published)] == []


def test_faithful_runs_without_rays_and_the_paper_has_none() -> None:
    none = {"in": {"ray_share": 0}, "cross": {"ray_share": 0}}
    assert settings_from(changed(fidelity="faithful", sources=none)).fidelity == "faithful"
    sources = load_settings(ROOT / "config.yaml", ROOT / "config/paper.yaml").sources
    assert (sources.in_.ray_share, sources.cross.ray_share) == (0, 0)


def test_the_three_presets_of_the_readme_are_there() -> None:
    assert {"smoke", "paper", "source"} <= {path.stem for path in OVERLAYS}
    assert load_settings(ROOT / "config.yaml").preset == "demo"


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({"adaptation": {"learning_rat": 1.0}}, r"adaptation\.learning_rat: no such setting"),
        ({"adaptation": {"learning_rate": "fast"}}, r"adaptation\.learning_rate: .*number.*found 'fast'"),
        ({"adaptation": {"epochs": 2.5}}, r"adaptation\.epochs: expected a whole number, found"),
        ({"adaptation": {"epochs": "three"}}, r"adaptation\.epochs: expected a whole number, found"),
        ({"preset": 3}, r"preset: expected a text, found 3"),
        ({"adaptation": {"consensus_weight": 1.5}}, r"adaptation\.consensus_weight: expected at most 1, found 1\.5"),
        ({"pairs": ["1-2", "2-1"]}, r"pairs\.1: .*'1-2'.*found '2-1'"),
        ({"pairs": []}, r"pairs: expected at least 1 of them, found \[\]"),
        ({"seeds": [1, 1]}, r"seeds: \[1, 1\] repeat"),
        ({"detnet": {"map_cells": 10}}, r"detnet\.map_cells: is 10, but input_px"),
        ({"sources": {"in": {"root_joint": 4}}}, r"sources\.in\.root_joint: expected 0 or 9, found 4"),
        ({"sources": {"cross": {"datasets": ["rhd", "assembly_hands"]}}}, "not trained on the target"),
        ({"sources": {"in": {"ray_share": 1.5}}}, r"sources\.in\.ray_share: expected at most 1, found 1\.5"),
        ({"sources": {"cross": {"ray_share": -0.1}}}, r"sources\.cross\.ray_share: expected at least 0, found -0\.1"),
        (
            {"fidelity": "faithful", "sources": {"in": {"ray_share": 0}}},
            r"sources\.cross\.ray_share: is 0\.75, but fidelity is faithful.*set it to 0",
        ),
        (
            {"fidelity": "faithful"},
            r"in\.ray_share: is 0\.5, but fidelity[^\n]*\n *sources\.cross\.ray_share: is 0\.75, but fidelity",
        ),
        (
            {"hold": {"hand": {"estimation": {"side": "left"}}}},
            r"hold\.hand\.estimation\.side: is left, .*set hold\.sequences\.NAME\.hands: \[left\]; no video .*mirrored",
        ),
        ({"hold": {"sequences": {"jug1": {"hands": "data/hands"}}}}, r"jug1\.hands: is 'data/hands'; .* hand_files"),
        (
            {"hold": {"sequences": {"jug1": {"hands": ["right", "left"]}}}},
            r"jug1\.hands: is \['right', 'left'\], but the demo renders it with one hand",
        ),
        ({"hold": {"sequences": {"jug1": {"hands": ["left", "left"]}}}}, r"jug1\.hands: .* expected each hand once"),
        (
            {"hold": {"field": "holdnet", "sequences": {"own": {**VIDEO, "hands": ["left", "right"]}}}},
            r"own\.hands: is \['right', 'left'\], but hold\.field: holdnet takes one hand so far",
        ),
        ({"hold": {"sequences": {"jug1": {"hands": []}}}}, r"jug1\.hands: expected at least 1 of them"),
        ({"hold": {"sequences": {"jug1": {"hands": ["both"]}}}}, r"jug1\.hands\.0: expected 'right' or 'left'"),
        ({"hold": {"compact": {"phase3": {"cells": [64]}}}}, r"compact\.phase3\.cells: .* set hold\.object_cells"),
        ({"hold": {"sequences": {"jug1": {"path": "data/jug"}}}}, r"hold\.sequences\.jug1\.path: .* renders it to"),
        ({"hold": {"sequences": {"a b": None}}}, r"hold\.sequences\.a b: a name has letters"),
        ({"sources": {"in": {"datasets": ["rhd"]}}}, r"sources\.in\.datasets: lacks assembly_hands"),
        ({"demo": None}, "where the demo is rendered, but demo is null"),
        ({"datasets": {"assembly_hands": {"split": "test"}}}, "the demo renders train and val"),
        (
            {"datasets": {"assembly_hands": {"root": "data/real"}}},
            r"outside resources/demo, but demo is set; set demo to null",
        ),
        ({"datasets": {"rhd": {"root": "data/RHD"}}}, r"datasets\.rhd\.root: is data/RHD, outside resources/demo"),
        ({"datasets": {"ganerated": {"root": "/tmp"}}}, r"datasets\.ganerated\.root: is /tmp, outside"),
        ({"device": "gpu"}, r"device: expected .*cuda.*, found \'gpu\'"),
        ({"footage": {"backend": "metro"}}, r"footage\.backend: is metro; .* network that learns: detnet or mediapipe"),
        (
            {"footage": {"backend": "detnet", "pairs": {"rig": {"left": "a.mp4", "right": "b.mp4"}}}},
            r"footage\.pairs\.rig\.left_boxes: is not set, but backend is detnet[^\n]*\n *footage\.pairs\.rig\.right",
        ),
        (
            {"footage": {"pairs": {"rig": {"left": "a.mp4", "right": "a.mp4"}}}},
            r"footage\.pairs\.rig\.right: is the same file as left, a\.mp4",
        ),
        ({"footage": {"pairs": {"a b": {"left": "a", "right": "b"}}}}, r"pairs\.a b: a name has letters"),
        (
            {"footage": {"pairs": {"rig": {"left": "a", "right": "b", "field_of_view_deg": [65, 180]}}}},
            r"footage\.pairs\.rig\.field_of_view_deg\.1: expected at most 175, found 180",
        ),
        (
            {"hold": {"hand": {"estimation": {"backend": "openpose"}}}},
            r"backend: is openpose; expected one of detnet, ",
        ),
        ({"adaptation": {"epochs": True}}, r"adaptation\.epochs: expected no truth value, found True"),
        ({"seeds": [True]}, r"seeds: expected no truth value, found \[True\]"),
        ({"preset": False}, r"preset: expected no truth value, found False"),
        ({"pretrain": 1}, r"pretrain: expected true or false, found 1"),
        ({"adaptation": {"learning_rate": float("inf")}}, r"learning_rate: expected a finite number, found inf"),
        ({"adaptation": {"learning_rate": "nan"}}, r"learning_rate: expected a finite number, found 'nan'"),
        ({"adaptation": {"learning_rate": 10**40}}, r"learning_rate: expected at most 1, found 1000"),
        ({"seeds": [-1]}, r"seeds\.0: expected at least 0, found -1$"),
        ({"seeds": [2**32]}, r"seeds\.0: expected at most 4294967295"),
        ({"adaptation": [1]}, r"adaptation: expected a section \(key: value\), found \[1\]"),
        ({"hold": {"compact": {"last_beta_m": 0.002}}}, r"hold\.compact\.last_beta_m: is 0\.002, above first_beta_m"),
        ({"hold": {"sequences": {"Becher_ä": VIDEO}}}, r"hold\.sequences\.Becher_ä: a name has letters"),
        ({"hold": {"sequences": {"..": VIDEO}}}, r"hold\.sequences\.\.\.: a name has letters"),
        ({"hold": {"sequences": {"a/b": VIDEO}}}, r"hold\.sequences\.a/b: a name has letters"),
        ({"hold": {"sequences": {"m" * 300: VIDEO}}}, r"a name has letters .* 80 at most"),
        ({"hold": {"sequences": {"own": {**VIDEO, "every": True}}}}, r"hold\.sequences\.own\.every: expected no truth"),
        (
            {"hold": {"sequences": {"own": marked({"object": {"box": [1, 2, 3]}})}}},
            r"masks\.prompts\.object\.box\.3: missing",
        ),
        (
            {"hold": {"sequences": {"own": marked([{"object": {"click": ["a", 1]}}])}}},
            r"hold\.sequences\.own\.masks\.prompts\.0\.object\.click\.0: expected a number, found 'a'",
        ),
        (
            {
                "hold": {
                    "sequences": {
                        "own": {**VIDEO, "masks": {"files": {"folder": "b", "colours": {"right": [300, 0, 0]}}}}
                    }
                }
            },
            r"masks\.files\.colours\.right\.0: expected at most 255, found 300",
        ),
        (
            {"hold": {"holdnet": {"checkpoints": {"jug1": "a.ckpt"}}}},
            r"hold\.holdnet\.checkpoints\.jug1: is set, but hold\.field is compact",
        ),
        (
            {"footage": {"pairs": {"rig": {"left": "a", "right": "b", "field_of_view_deg": [0.65, 65]}}}},
            r"footage\.pairs\.rig\.field_of_view_deg\.0: expected at least 5, found 0\.65",
        ),
        (
            {"footage": {"pairs": {"rig": {"left": "a.mp4", "right": "./a.mp4"}}}},
            r"rig\.right: is the same file as left",
        ),
        ({"sources": {"in": {"network": "metro"}}}, r"sources\.in\.network: is metro; expected a network that learns"),
    ],
)
def test_what_cannot_be_is_refused_with_its_path(overlay: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings_from(changed(**overlay))


def test_every_number_has_a_finite_range() -> None:
    def bounds(metadata: list[Any]) -> set[str]:
        inside = [each for part in metadata for each in (part.metadata if isinstance(part, FieldInfo) else [part])]
        return {name for each in inside for name in ("ge", "gt", "le", "lt") if hasattr(each, name)}

    def boundless(annotation: Any, metadata: list[Any], path: str) -> list[str]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            fields = annotation.model_fields.items()
            return [
                found for name, each in fields for found in boundless(each.annotation, each.metadata, f"{path}.{name}")
            ]
        if annotation in (int, float):
            found = bounds(metadata)
            return [] if found & {"ge", "gt"} and found & {"le", "lt"} else [path]
        parts = get_args(annotation)
        if get_origin(annotation) is Annotated:
            return boundless(parts[0], [*metadata, *parts[1:]], path)
        kept = [] if get_origin(annotation) in (tuple, list, dict) else metadata
        return [found for part in parts for found in boundless(part, kept, path)]

    assert boundless(RunSettings, [], "") == []


def test_no_word_of_the_validator_reaches_the_user() -> None:
    wrong = {"prompts": {"object": {"box": 3}}, "empty_fraction": "x"}
    overlay = {
        "hold": {"sequences": {"own": {**VIDEO, "masks": wrong}}, "demo": 3, "seed": []},
        "pairs": {},
        "seeds": 1,
    }
    with pytest.raises(InputError) as raised:
        settings_from(changed(**overlay))
    assert not re.search(r"pydantic|Input should|\[type|function-|tuple\[|Prompts|one frame", str(raised.value))
    assert len(str(raised.value).splitlines()) == 7


def test_marks_alone_mean_propagation() -> None:
    marks = marked({"object": {"click": [9, 9]}, "right": {"click": [5, 5]}})
    found = settings_from(changed(hold={"sequences": {"own": marks, "bare": VIDEO}})).hold.chosen
    assert [found[name].masks.source for name in ("own", "bare")] == ["propagation", "dataset"]


def test_what_else_is_wrong_is_told_beside_wrong_settings() -> None:
    overlay = {"hold": {"sequences": {"wrong": {**VIDEO, "every": "x"}, "own": VIDEO}}, "seeds": [-1]}
    with pytest.raises(InputError, match=r"own: lacks") as raised:
        settings_from(changed(**overlay), more=lambda run: [f"{name}: lacks" for name in run.hold.chosen])
    assert "wrong: lacks" not in str(raised.value)


def test_a_root_that_nothing_reads_may_be_anywhere() -> None:
    """Protects who has AssemblyHands only: the other data sets train source networks, and two are shipped."""
    real = {"assembly_hands": {"root": "data/assemblyhands"}}
    assert settings_from(changed(demo=None, datasets=real)).read_datasets == {"assembly_hands"}
    with pytest.raises(InputError, match=r"datasets\.rhd\.root: is resources/demo/RHD, where the demo is rendered"):
        settings_from(changed(demo=None, datasets=real, pretrain=True))


def test_numbers_may_come_as_text_as_the_command_line_hands_them_over() -> None:
    settings = settings_from(changed(adaptation={"epochs": "3", "learning_rate": "5e-4"}, pretrain="true"))
    assert (settings.adaptation.epochs, settings.adaptation.learning_rate, settings.pretrain) == (3, 5e-4, True)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(InputError) as raised:
        settings_from(changed(fidelty="fixed", seeds=["a"]))
    assert "fidelty: no such setting" in str(raised.value)
    assert "seeds.0:" in str(raised.value)


def test_a_section_that_is_given_in_part_keeps_its_places_default() -> None:
    """Own camera pairs have another default of the adaptation than S2DHand's tables; an alias is a name like any."""

    class Section(Settings):
        first: int = 1
        second: int = 2

    class Whole(Settings):
        section: Section = Section(first=5)
        in_: Section = Field(Section(second=6), alias="in")

    found = Whole.model_validate({"section": {"second": 3}, "in": {"first": 4}})
    assert (found.section, found.in_) == (Section(first=5, second=3), Section(first=4, second=6))
    assert Whole.model_validate({"section": Section(second=3)}).section == Section(second=3)
    with pytest.raises(ValueError, match="thrid"):
        Whole.model_validate({"section": {"thrid": 3}})
    footage = settings_from(changed(footage={"adaptation": {"epochs": 2}})).footage.adaptation
    assert footage == OWN_PAIRS.model_copy(update={"epochs": 2}) != AdaptationSettings(epochs=2)


def test_a_missing_section_is_named() -> None:
    config = changed()
    del config["sources"]["cross"]
    with pytest.raises(InputError, match=r"sources\.cross: missing"):
        settings_from(config)


def test_settings_cannot_be_changed() -> None:
    settings = load_settings(ROOT / "config.yaml")
    with pytest.raises(ValueError, match="frozen"):
        settings.preset = "other"  # type: ignore[misc]  # the point of the test


def test_every_setting_is_described() -> None:
    def undescribed(model: type[BaseModel], path: str) -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            nested = field.annotation
            if isinstance(nested, type) and issubclass(nested, BaseModel):
                found += undescribed(nested, f"{path}{name}.")
                documented = field.description or nested.__doc__
            else:
                documented = field.description
            found += [] if documented else [path + name]
        return found

    assert undescribed(RunSettings, "") == []


def test_the_schema_refuses_unknown_keys_everywhere() -> None:
    schema = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    sections = [schema, *schema["$defs"].values()]
    assert all(section["additionalProperties"] is False for section in sections if section.get("type") == "object")


@pytest.mark.parametrize(
    ("text", "message"), [("- a\n", "holds a list"), ("a: [", "not valid YAML"), (None, "no such")]
)
def test_an_unreadable_configuration_file_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"a\.yaml(, line 1)?: {message}"):
        load_settings(tmp_path / "a.yaml")


def test_overlays_are_merged_as_snakemake_does() -> None:
    from snakemake.utils import update_config

    base = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}}
    overlay = {"a": {"c": [3]}, "d": None, "f": 2}
    expected = yaml.safe_load(yaml.safe_dump(base))
    update_config(expected, overlay)
    assert merged(base, overlay) == expected


def test_a_view_that_is_a_folder_holds_pictures_and_any_file_is_a_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Suffixes tell nothing: .MTS, .h264 and .gif were taken for folders."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "pictures.mp4").mkdir()
    (tmp_path / "00001.MTS").touch()
    rig = {"left": "~/00001.MTS", "right": "~/pictures.mp4", "right_boxes": "~/boxes.csv"}
    pair = FootagePairSettings.model_validate(rig)
    assert (pair.left, pair.right_boxes) == (str(tmp_path / "00001.MTS"), str(tmp_path / "boxes.csv"))
    assert (pair.frames("left").kind, pair.frames("right").kind) == ("video", "frames")
    files = {"source": "files", "files": {"folder": "~/masks"}}
    mug = SequenceSettings.model_validate({"kind": "video", "path": "~/mug.mov", "masks": files})
    assert mug.path == str(tmp_path / "mug.mov")
    assert mug.masks.files is not None
    assert mug.masks.files.folder == str(tmp_path / "masks")
