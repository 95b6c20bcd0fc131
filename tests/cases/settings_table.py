"""What users write into configuration files, and the line that refuses it before anything runs.

A new fault is one row more. Beside the file lie `film.mp4`, of 12 frames of 96 x 64 pixels, a folder `frames` of the
same pictures, and `page.pth`, a web page.
"""

from typing import NamedTuple


class Setting(NamedTuple):
    """A configuration file, and words of the one line that refuses it; none where it is taken."""

    name: str
    text: str | bytes
    says: str


FILM = "kind: video, path: film.mp4"
MARKS = "object: {box: [4, 20, 30, 40]}, right: {box: [40, 42, 80, 60]}"
MASKS = f"masks: {{prompts: {{{MARKS}}}}}"


def own(sequence: str, **hold: str) -> str:
    """A file that names a sequence, `own`, and other settings of HOLD."""
    others = "".join(f", {key}: {value}" for key, value in hold.items())
    return f"hold: {{sequences: {{own: {{{sequence}}}}}{others}}}"


def marks(**entities: str) -> str:
    """A film with these marks."""
    given = {"object": "{box: [4, 20, 30, 40]}", "right": "{box: [40, 42, 80, 60]}", **entities}
    return own(f"{FILM}, masks: {{prompts: {{{', '.join(f'{key}: {value}' for key, value in given.items())}}}}}")


def files(convention: str) -> str:
    """A film with masks in files."""
    return own(f"{FILM}, masks: {{source: files, files: {{folder: frames, {convention}}}}}")


def pair(rest: str) -> str:
    """A camera pair."""
    return f"footage: {{pairs: {{rig: {{{rest}}}}}}}"


_LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)

SETTINGS = (
    Setting("right", own(f"{FILM}, {MASKS}"), ""),
    Setting("right_pair", pair("left: film.mp4, right: frames"), ""),
    # Text that is no plain mapping
    Setting(
        "key_twice",
        "adaptation: {epochs: 3}\npreset: mine\nadaptation: {batch_size: 8}\n",
        "adaptation is there twice, in lines 1 and 3",
    ),
    Setting(
        "sequence_twice",
        f"hold:\n  sequences:\n    mug: {{{FILM}}}\n    mug: {{{FILM}}}\n",
        "hold.sequences.mug is there twice, in lines 3 and 4",
    ),
    Setting("utf_16", "preset: mine\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
    Setting("deep", "preset: " + "[" * 10_000, "nested more than 40 deep"),
    Setting("laughs", _LAUGHS + "preset: *a9\n", "stands for more than 100000 values"),
    Setting("two_documents", "preset: a\n---\npreset: b\n", "a second document"),
    Setting("list", "- preset: a\n", "holds a list, but a mapping"),
    Setting("minutes", "checkpoint_seconds: 1:30\n", "YAML reads 1:30 as 90"),
    Setting("run_something", "preset: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
    # Numbers that are none of the setting's
    Setting("yes", "adaptation: {epochs: yes}", "adaptation.epochs: expected no truth value"),
    Setting("every_true", own(f"{FILM}, every: true, {MASKS}"), "hold.sequences.own.every: expected no truth value"),
    Setting(
        "infinite", "adaptation: {learning_rate: .inf}", "adaptation.learning_rate: expected a finite number, found inf"
    ),
    Setting("negative_seed", "seeds: [-1]", "seeds.0: expected at least 0, found -1"),
    Setting("fraction", "adaptation: {epochs: 2.5}", "adaptation.epochs: expected a whole number, found 2.5"),
    Setting(
        "beta_rises",
        "hold: {compact: {first_beta_m: 0.0003, last_beta_m: 0.001}}",
        "hold.compact.last_beta_m: is 0.001, above first_beta_m",
    ),
    Setting(
        "colour_of_300",
        files("convention: colours, colours: {object: [300, 0, 0], right: [1, 2, 3]}"),
        "colours.object.0: expected at most 255, found 300",
    ),
    Setting(
        "view_of_0.65",
        pair("left: film.mp4, right: frames, field_of_view_deg: [0.65, 65]"),
        "field_of_view_deg.0: expected at least 5",
    ),
    Setting(
        "camera_infinite",
        own(f"{FILM}, camera_px: [.inf, 90, 48, 32], {MASKS}"),
        "own.camera_px.0: expected a finite number",
    ),
    Setting(
        "camera_elsewhere",
        own(f"{FILM}, camera_px: [90, 90, 960, 32], {MASKS}"),
        "own.camera_px: has its centre at 960, 32",
    ),
    Setting(
        "view_as_one_number",
        pair("left: film.mp4, right: frames, field_of_view_deg: 65"),
        "rig.field_of_view_deg: expected a list of 2 numbers, found 65",
    ),
    Setting(
        "camera_of_three",
        pair("left: film.mp4, right: frames, left_camera: [90, 90, 48]"),
        "rig.left_camera.3: missing; expected a list of 4 numbers or a text, found [90, 90, 48]",
    ),
    Setting(
        "camera_of_pair_elsewhere",
        pair("left: film.mp4, right: frames, left_camera: [90, 90, 960, 32]"),
        "rig.left_camera: has its centre at 960, 32",
    ),
    Setting(
        "size_in_millimetres",
        own(f"{FILM}, object_size_m: 146, {MASKS}"),
        "own.object_size_m: expected at most 2",
    ),
    # Settings that do not fit each other
    Setting(
        "size_given_twice",
        own(f"{FILM}, object_size_m: 0.1, {MASKS}", hand="{alignment: {object_scale: 1}}"),
        "own.object_size_m: is set, but hold.hand.alignment.object_scale fixes the size as well",
    ),
    Setting("typo", "adaptation: {learning_rat: 1}", "adaptation.learning_rat: no such setting"),
    Setting("typo_below", own(f"{FILM}, masks: {{promts: 3}}"), "own.masks.promts: no such setting (found 3); did you"),
    Setting("no_typo", "footage: {side: left}", "footage.side: no such setting (found 'left'); here are pairs,"),
    Setting(
        "one_folder_for_both",
        own(
            f"{FILM}, masks: {{source: files, files: {{folder: frames, convention: entity_folders, "
            "entity_folders: {object: ., right: ./}}}"
        ),
        "own.masks.files.entity_folders: {'object': '.', 'right': './'} gives two entities the same",
    ),
    Setting(
        "pictures_as_masks",
        own("kind: frames, path: frames, masks: {source: files, files: {folder: ./frames}}"),
        "own.masks.files.folder: is ./frames, the folder of the pictures themselves",
    ),
    Setting(
        "every_too_far",
        own(f"kind: frames, path: frames, every: 12, {MASKS}"),
        "own.first: is 0, and every 12, but frames holds 12 pictures",
    ),
    Setting("no_masks", own(FILM), "own.masks.source: is dataset, but a sequence of kind video brings no masks"),
    Setting("no_marks", own(f"{FILM}, masks: {{source: propagation}}"), "own.masks.prompts: is not set"),
    Setting(
        "left_only",
        own(f"{FILM}, masks: {{prompts: {{object: {{click: [9, 30]}}, left: {{click: [60, 50]}}}}}}"),
        "own.masks.prompts.right: is not marked",
    ),
    Setting("files_unnamed", own(f"{FILM}, masks: {{source: files}}"), "own.masks.files: is not set"),
    Setting("numbers_alike", files("convention: index, index: {object: 1, right: 1}"), "gives two entities the same"),
    Setting(
        "known_of_video",
        own(f"{FILM}, {MASKS}", sfm="{backend: known}"),
        "hold.sfm.backend: is known, but a sequence of kind video",
    ),
    Setting(
        "hloc_absent", own(f"{FILM}, {MASKS}", sfm="{backend: hloc}"), "hold.sfm.backend: is hloc, a Python package"
    ),
    Setting(
        "sam2_absent",
        own(f"{FILM}, masks: {{source: sam2, prompts: {{{MARKS}}}}}"),
        "own.masks.sam2.checkpoint: is not set",
    ),
    Setting(
        "checkpoints_unread",
        own(f"{FILM}, {MASKS}", holdnet="{checkpoints: {own: page.pth}}"),
        "hold.holdnet.checkpoints.own: is set, but hold.field is compact",
    ),
    Setting(
        "name_with_umlaut",
        f"hold: {{sequences: {{Becher_ä: {{{FILM}, {MASKS}}}}}}}",
        "hold.sequences.Becher_ä: a name has letters",
    ),
    Setting(
        "name_of_parent", f"hold: {{sequences: {{'..': {{{FILM}, {MASKS}}}}}}}", "hold.sequences...: a name has letters"
    ),
    Setting("one_file_both_views", pair("left: film.mp4, right: ./film.mp4"), "rig.right: is the same file as left"),
    # Marks that are not on the frame
    Setting(
        "shares",
        marks(object="{box: [0.1, 0.2, 0.5, 0.9]}"),
        "own.masks.prompts.object.box: [0.1, 0.2, 0.5, 0.9] are shares of the frame's sides",
    ),
    Setting(
        "outside",
        marks(right="{click: [150, 9]}"),
        "own.masks.prompts.right.click: [150.0, 9.0] lies outside the frames of 96 x 64",
    ),
    Setting(
        "whole_frame",
        marks(object="{box: [0, 0, 95, 63]}"),
        "own.masks.prompts.object.box: [0.0, 0.0, 95.0, 63.0] is the whole frame",
    ),
    Setting(
        "upside_down",
        marks(object="{box: [30, 40, 4, 20]}"),
        "own.masks.prompts.object.box: [30.0, 40.0, 4.0, 20.0] is not left < right",
    ),
    # Files that are not there, or are something else
    Setting(
        "mistyped_film",
        own(f"kind: video, path: flim.mp4, {MASKS}"),
        "own.path: leads to flim.mp4, which does not exist (but film.mp4 does)",
    ),
    Setting(
        "folder_as_video", own(f"kind: video, path: frames, {MASKS}"), "own.path: leads to frames, which is a folder"
    ),
    Setting(
        "video_as_frames", own(f"kind: frames, path: film.mp4, {MASKS}"), "own.path: leads to film.mp4, which is a file"
    ),
    Setting(
        "no_mask_folder",
        own(f"{FILM}, masks: {{source: files, files: {{folder: mask}}}}"),
        "own.masks.files.folder: leads to mask, which does not exist",
    ),
    Setting("zero_byte_in_path", own(f'kind: video, path: "a\\0b", {MASKS}'), "cannot be looked at"),
    Setting(
        "estimates_mistyped",
        own(f"{FILM}, {MASKS}", hand="{estimation: {checkpoint: no.pth}}"),
        "hold.hand.estimation.checkpoint: leads to no.pth, which does not exist",
    ),
    Setting(
        "estimates_of_no_package",
        own(f"{FILM}, {MASKS}", hand="{estimation: {checkpoint: 'package:no.safetensors'}}"),
        "handloom ships no such",
    ),
    Setting(
        "estimates_of_a_page", own(f"{FILM}, {MASKS}", hand="{estimation: {checkpoint: page.pth}}"), "is a web page"
    ),
    Setting(
        "no_right_film", pair("left: film.mp4, right: right.mp4"), "rig.right: leads to right.mp4, which does not exist"
    ),
    Setting(
        "no_boxes_file", pair("left: film.mp4, right: frames, left_boxes: no.csv"), "rig.left_boxes: leads to no.csv"
    ),
    Setting(
        "mano_nowhere",
        own(f"{FILM}, {MASKS}") + "\nmano: nowhere",
        "mano: leads to nowhere/MANO_RIGHT.pkl, which does not exist",
    ),
)
