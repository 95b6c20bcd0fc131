"""HOLD: what comes of the phases: predictions, scores, tables, pictures, videos and exports."""


use rule stage as hold_predictions with:
    """Hand and object of a phase in the camera's frame, in metres."""
    input:
        build=build_of,
        poses=f"{OF_SEQUENCE}/{{phase}}/poses.npz",
        mesh=f"{OF_SEQUENCE}/{{phase}}/object.npz",
        hand=hand_model_of,
    output:
        predictions=f"{OF_SEQUENCE}/{{phase}}/predictions.npz",
    pathvars:
        job="hold_predictions/{sequence}/{phase}",
    resources:
        **needs(runtime=10),
    params:
        **stage("reconstruction.predictions:write_predictions", watched=sequence_state(BUILD_IN)),


use rule stage as hold_truth with:
    """The annotation of an HO3D sequence, for scoring only."""
    input:
        rendered_model,
        source=annotated_source,
        frames=f"{OF_SEQUENCE}/frames",
        frames_json=f"{OF_SEQUENCE}/frames.json",
        hand=hand_model_of,
    output:
        truth=f"{OF_SEQUENCE}/truth.npz",
    pathvars:
        job="hold_truth/{sequence}",
    resources:
        **needs(runtime=10),
    params:
        **stage(
            "datasets.hold_truth:write_truth",
            models=lambda wildcards: sequence_of(wildcards).models,
            watched=sequence_state({"ho3d": ["meta/*"]}),
        ),


use rule stage as score_hold with:
    """MPJPE, CD, F-scores and CD_h of a phase."""
    input:
        predictions=f"{OF_SEQUENCE}/{{phase}}/predictions.npz",
        truth=f"{OF_SEQUENCE}/truth.npz",
    output:
        scores=f"{OF_SEQUENCE}/{{phase}}/scores.json",
        frames=f"{OF_SEQUENCE}/{{phase}}/scores.csv",
    pathvars:
        job="score_hold/{sequence}/{phase}",
    resources:
        **needs(runtime=30),
    params:
        **stage("evaluation.hold_scores:score_hold", protocol=HOLD.protocol, seed=HOLD.seed),


use rule stage as score_interchange with:
    """iHOI or DiffHOI, run by the user and brought as a file, scored like HOLD's own predictions."""
    input:
        interchange=interchange_file,
        truth=f"{OF_SEQUENCE}/truth.npz",
        hand=hand_model_of,
    output:
        scores=f"{OF_SEQUENCE}/interchange/{{method}}/scores.json",
        frames=f"{OF_SEQUENCE}/interchange/{{method}}/scores.csv",
    pathvars:
        job="score_interchange/{sequence}/{method}",
    wildcard_constraints:
        method="iHOI|DiffHOI",
    resources:
        **needs(mem_mb=3000),
    params:
        **stage(
            "evaluation.interchange:score_interchange",
            protocol=HOLD.protocol,
            seed=HOLD.seed,
            watched=contents_of(interchange_file),
        ),


use rule stage as hold_table with:
    """The table of HOLD, or that of its phases (`_ablation`)."""
    input:
        scores=annotated_scores,
    output:
        csv="results/tables/hold{ablation}.csv",
        markdown="results/tables/hold{ablation}.md",
        html=shown(
            "results/tables/hold{ablation}.html", "hold_table", "Tables", {"table": "HOLD", "setting": "{ablation}"}
        ),
    log:
        "logs/hold_table{ablation}.log",
    benchmark:
        "benchmarks/hold_table/hold{ablation}.tsv"
    resources:
        **needs(mem_mb=1000, runtime=10),
    params:
        **stage(
            "evaluation.hold_tables:write_hold_table",
            sequences=ANNOTATED,
            benchmarks=lambda wildcards: {
                row: {name: phase_benchmarks(name, phase) for name in ANNOTATED}
                for row, phase in ({p: p for p in PHASES} if wildcards.ablation else {"HOLD": "phase3"}).items()
            },
        ),


use rule stage as hold_two_hands_table with:
    """The sequences with two hands, in ARCTIC's measures."""
    input:
        scores=two_hands_scores,
    output:
        csv="results/tables/hold_two_hands.csv",
        markdown="results/tables/hold_two_hands.md",
        html=shown("results/tables/hold_two_hands.html", "hold_two_hands", "Tables", {"table": "HOLD with two hands"}),
    log:
        "logs/hold_two_hands_table.log",
    benchmark:
        "benchmarks/hold_table/hold_two_hands.tsv"
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


use rule stage as hold_overlay with:
    """Frames beside the reconstruction laid over them, and a view from elsewhere."""
    input:
        predictions=f"{OF_SEQUENCE}/phase3/predictions.npz",
        frames=f"{OF_SEQUENCE}/frames",
        frames_json=f"{OF_SEQUENCE}/frames.json",
        masks=masks_of,
        aligned=aligned_of,
    output:
        picture=shown(
            "results/figures/hold/{sequence}.png",
            "hold_overlay",
            "HOLD",
            {"picture": "reconstruction", "sequence": "{sequence}"},
        ),
    pathvars:
        job="hold_overlay/{sequence}",
    resources:
        **needs(runtime=20),
    params:
        **stage("figures.hold_pictures:draw_hold_overlay"),


use rule stage as hold_turntable with:
    """Videos: hand and object turning once, and the reconstruction over the frames."""
    input:
        predictions=f"{OF_SEQUENCE}/{{phase}}/predictions.npz",
        frames=f"{OF_SEQUENCE}/frames",
        frames_json=f"{OF_SEQUENCE}/frames.json",
        masks=masks_of,
    output:
        turntable=shown(
            f"{OF_SEQUENCE}/{{phase}}/turntable.mp4",
            "hold_turntable",
            "HOLD",
            {"picture": "turntable, {phase}", "sequence": "{sequence}"},
        ),
        overlay=shown(
            f"{OF_SEQUENCE}/{{phase}}/overlay.mp4",
            "hold_video",
            "HOLD",
            {"picture": "video, {phase}", "sequence": "{sequence}"},
        ),
    pathvars:
        job="hold_turntable/{sequence}/{phase}",
    resources:
        **needs(runtime=20),
    params:
        **stage("figures.hold_pictures:write_hold_videos"),


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


use rule stage as hold_export with:
    """Coloured meshes, poses, and a page on which the scene can be turned, offline."""
    input:
        predictions=f"{OF_SEQUENCE}/{{phase}}/predictions.npz",
        frames=f"{OF_SEQUENCE}/frames",
        frames_json=f"{OF_SEQUENCE}/frames.json",
        masks=masks_of,
    output:
        object_glb=f"{OF_SEQUENCE}/{{phase}}/export/object.glb",
        object_ply=f"{OF_SEQUENCE}/{{phase}}/export/object.ply",
        hand_glb=f"{OF_SEQUENCE}/{{phase}}/export/hand.glb",
        hand_ply=f"{OF_SEQUENCE}/{{phase}}/export/hand.ply",
        scene_glb=f"{OF_SEQUENCE}/{{phase}}/export/scene.glb",
        poses_npz=f"{OF_SEQUENCE}/{{phase}}/export/poses.npz",
        poses_json=f"{OF_SEQUENCE}/{{phase}}/export/poses.json",
        page=f"{OF_SEQUENCE}/{{phase}}/scene.html",
    pathvars:
        job="hold_export/{sequence}/{phase}",
    resources:
        **needs(runtime=20),
    params:
        **stage("figures.hold_export:export_hold"),
