"""HOLD: what comes of the phases: predictions, scores, tables, pictures, videos and exports."""

from functools import partial
from types import SimpleNamespace

PICTURED = {"frames": f"{OF_SEQUENCE}/frames", "frames_json": f"{OF_SEQUENCE}/frames.json", "masks": masks_of}
PICTURED |= {"quality": quality_of}
PREDICTED = stage("reconstruction.predictions:write_predictions", watched=sequence_state(BUILD_IN))
DRAWN = [stage("figures.hold_pictures:write_hold_videos"), stage("figures.hold_export:export_hold")]


use rule stage as hold_results with:
    """Hand and object of a phase in the camera's frame, in metres; videos and exports of them."""
    input:
        **PICTURED,
        build=build_of,
        poses=f"{OF_SEQUENCE}/{{phase}}/poses.npz",
        mesh=f"{OF_SEQUENCE}/{{phase}}/object.npz",
        hand=hand_model_of,
    output:
        **phase_files("{phase}"),
    pathvars:
        job="hold_results/{sequence}/{phase}",
    wildcard_constraints:
        phase="hull|phase1|phase3_unrefined",
    resources:
        **needs(mem_mb=3000),
    params:
        **steps(PREDICTED, *DRAWN),


OVERLAY = "results/figures/hold/{sequence}.png"
PHASE3 = {"build": build_of, "poses": f"{OF_SEQUENCE}/phase3/poses.npz", "mesh": f"{OF_SEQUENCE}/phase3/object.npz"}
PICTURE = stage("figures.hold_pictures:draw_hold_overlay")


use rule hold_results as hold_reconstruction with:
    """The same of phase 3, and frames beside the reconstruction laid over them."""
    input:
        **PHASE3,
        **PICTURED,
        hand=hand_model_of,
        aligned=aligned_of,
    output:
        **phase_files("phase3"),
        picture=OVERLAY,
    pathvars:
        job="hold_reconstruction/{sequence}",
    wildcard_constraints:
        sequence="|".join(set(SEQUENCES) - set(ANNOTATED)) or "none-",
    params:
        **steps(PREDICTED, PICTURE, *DRAWN),


use rule hold_results as scored_reconstruction with:
    """The same of an annotated sequence, and MPJPE, CD, F-scores and CD_h."""
    input:
        rendered_model,
        **PHASE3,
        **PICTURED,
        hand=hand_model_of,
        aligned=aligned_of,
        source=annotated_source,
    output:
        **phase_files("phase3"),
        picture=OVERLAY,
        truth=f"{OF_SEQUENCE}/phase3/truth.npz",
        scores=f"{OF_SEQUENCE}/phase3/scores.json",
        scored_frames=f"{OF_SEQUENCE}/phase3/scores.csv",
    pathvars:
        job="scored_reconstruction/{sequence}",
    wildcard_constraints:
        sequence="|".join(ANNOTATED) or "none-",
    params:
        **steps(PREDICTED, PICTURE, *scored_as("phase3"), *DRAWN),


ruleorder: scored_reconstruction > score_hold


use rule stage as score_hold with:
    """MPJPE, CD, F-scores and CD_h of another phase."""
    input:
        rendered_model,
        source=annotated_source,
        frames=f"{OF_SEQUENCE}/frames",
        frames_json=f"{OF_SEQUENCE}/frames.json",
        hand=hand_model_of,
        predictions=f"{OF_SEQUENCE}/{{phase}}/predictions.npz",
    output:
        truth=f"{OF_SEQUENCE}/{{phase}}/truth.npz",
        scores=f"{OF_SEQUENCE}/{{phase}}/scores.json",
        scored_frames=f"{OF_SEQUENCE}/{{phase}}/scores.csv",
    pathvars:
        job="score_hold/{sequence}/{phase}",
    wildcard_constraints:
        phase="hull|phase1|phase3_unrefined|phase3",  # phase 3 of a sequence without truth, to say so
    resources:
        **needs(runtime=30),
    params:
        **steps(*scored_as(lambda wildcards: wildcards.phase)),


use rule stage as score_interchange with:
    """iHOI or DiffHOI, run by the user and brought as a file, scored like HOLD's own predictions."""
    input:
        rendered_model,
        source=annotated_source,
        frames=f"{OF_SEQUENCE}/frames",
        frames_json=f"{OF_SEQUENCE}/frames.json",
        hand=hand_model_of,
        interchange=interchange_file,
    output:
        truth=f"{OF_SEQUENCE}/interchange/{{method}}/truth.npz",
        scores=f"{OF_SEQUENCE}/interchange/{{method}}/scores.json",
        scored_frames=f"{OF_SEQUENCE}/interchange/{{method}}/scores.csv",
    pathvars:
        job="score_interchange/{sequence}/{method}",
    wildcard_constraints:
        method="iHOI|DiffHOI",
    resources:
        **needs(mem_mb=3000),
    params:
        **steps(
            scored_as("")[0],
            stage(
                "evaluation.interchange:score_interchange",
                files=SCORED_FRAMES,
                protocol=HOLD.protocol,
                seed=HOLD.seed,
                watched=contents_of(interchange_file),
            ),
        ),


use rule stage as hold_table with:
    """The table of HOLD, beside the methods whose files the user brings."""
    input:
        scores=lambda wildcards: annotated_scores() + OTHER_SCORES,
    output:
        **hold_table_files("hold", "all"),
    pathvars:
        job="hold_table",
    resources:
        **needs(mem_mb=1000, runtime=10),
    params:
        **stage(
            "evaluation.hold_tables:write_hold_table",
            ablation="",
            sequences=ONE_HANDED,
            benchmarks=behind({"HOLD": "phase3"}),
        ),


ABLATED, ABLATION, ABLATION_STEPS = {}, {}, []
for name in ONE_HANDED:
    for phase in PHASES[:-1]:
        here = f"{name}_{phase}_"
        ABLATED |= {
            f"{here}poses": f"results/hold/{name}/{phase}/poses.npz",
            f"{here}mesh": f"results/hold/{name}/{phase}/object.npz",
            f"{here}build": f"results/hold/{name}/build",
            f"{here}hand": partial(lambda name, wildcards: hand_model_of(SimpleNamespace(sequence=name)), name),
            f"{here}truth": f"results/hold/{name}/phase3/truth.npz",
        }
        ABLATION |= {
            f"{here}predictions": f"results/hold/{name}/ablation/{phase}.predictions.npz",
            f"{here}scores": f"results/hold/{name}/ablation/{phase}.json",
            f"{here}frames": f"results/hold/{name}/ablation/{phase}.csv",
        }
        named = {file.removeprefix(here): file for file in (*ABLATED, *ABLATION) if file.startswith(here)}
        ABLATION_STEPS += [
            stage("reconstruction.predictions:write_predictions", files=named),
            scored_as(phase, sequence=name, files=named)[-1],
        ]


use rule stage as hold_ablation with:
    """The table of HOLD's phases, and the scores of all but the last, in one job."""
    input:
        **ABLATED,
        phase3=lambda wildcards: annotated_scores(),
    output:
        **hold_table_files("hold_ablation", "ablation"),
        **ABLATION,
    pathvars:
        job="hold_ablation",
    resources:
        **needs(mem_mb=3000, runtime=120),
    params:
        **steps(
            *ABLATION_STEPS,
            stage(
                "evaluation.hold_tables:write_hold_table",
                files={"scores": ["phase3", *(file for file in ABLATION if file.endswith("_scores"))]},
                ablation="ablation",
                sequences=ONE_HANDED,
                benchmarks=behind({phase: phase for phase in PHASES}),
            ),
        ),


use rule stage as hold_two_hands_table with:
    """The sequences with two hands, in ARCTIC's measures."""
    input:
        scores=two_hands_scores,
    output:
        **hold_table_files("hold_two_hands", "two hands"),
    pathvars:
        job="hold_two_hands_table",
    resources:
        **needs(mem_mb=1000, runtime=10),
    params:
        **stage(
            "evaluation.two_hands_table:write_two_hands_table",
            benchmarks={name: phase_benchmarks(name, "phase3") for name in TWO_HANDED},
        ),


use rule stage as sequence_quality with:
    """How well each stage did on a sequence, and what to film or set better; needs no annotation."""
    input:
        frames_json=f"{OF_SEQUENCE}/frames.json",
        frames=f"{OF_SEQUENCE}/frames",
        masks=masks_of,
        object_poses=f"{OF_SEQUENCE}/object_poses.npz",
        hand_estimates=f"{OF_SEQUENCE}/hand_estimates.npz",
        aligned=f"{OF_SEQUENCE}/aligned.npz",
        shape=f"{OF_SEQUENCE}/shape.npz",
        hand=hand_model_of,
    output:
        table=f"{OF_SEQUENCE}/quality.csv",
    pathvars:
        job="sequence_quality/{sequence}",
    resources:
        **needs(runtime=10),
    params:
        **stage("evaluation.sequence_quality:write_sequence_quality"),


use rule stage as hold_quality with:
    """The quality of all sequences in one table."""
    input:
        tables=quality_tables,
    output:
        csv="results/tables/hold_quality.csv",
        html=shown(
            "results/tables/hold_quality.html", "hold_quality", "Tables", {"table": "HOLD, quality of the stages"}
        ),
    log:
        "logs/hold_quality.log",
    benchmark:
        "benchmarks/hold_quality/hold.tsv"
    resources:
        **needs(mem_mb=1000, runtime=10),
    params:
        **stage("evaluation.sequence_quality:write_hold_quality"),


use rule stage as hold_animation with:
    """A small animation for a page: frames, the reconstruction over them, and the object turning."""
    input:
        predictions=f"{OF_SEQUENCE}/{{phase}}/predictions.npz",
        frames=f"{OF_SEQUENCE}/frames",
        frames_json=f"{OF_SEQUENCE}/frames.json",
        masks=masks_of,
    output:
        animation=f"{OF_SEQUENCE}/{{phase}}/animation.webp",
    pathvars:
        job="hold_animation/{sequence}/{phase}",
    resources:
        **needs(runtime=20),
    params:
        **stage("figures.hold_pictures:write_hold_animation"),
