"""HOLD: what comes of the phases: predictions, scores, tables, pictures, videos and exports."""


rule hold_predictions:
    """Hand and object of a phase in the camera's frame, in metres."""
    input:
        build=build_of,
        poses=f"{OF_SEQUENCE}/{{phase}}/poses.npz",
        mesh=f"{OF_SEQUENCE}/{{phase}}/object.npz",
        hand=MANO_HAND,
    output:
        predictions=f"{OF_SEQUENCE}/{{phase}}/predictions.npz",
    log:
        "logs/hold_predictions/{sequence}/{phase}.log",
    benchmark:
        "benchmarks/hold_predictions/{sequence}/{phase}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_digest("handloom.reconstruction.compact.predictions"),
    script:
        "../scripts/hold_predictions.py"


rule hold_truth:
    """The annotation of an HO3D sequence, for scoring only."""
    input:
        list=f"{OF_SEQUENCE}/frames.json",
        source=sequence_source,
        hand=MANO_HAND,
    output:
        truth=f"{OF_SEQUENCE}/truth.npz",
    log:
        "logs/hold_truth/{sequence}.log",
    benchmark:
        "benchmarks/hold_truth/{sequence}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        sequence=sequence_of,
        code=code_digest("handloom.datasets.hold_truth"),
    script:
        "../scripts/hold_truth.py"


rule score_hold:
    """MPJPE, CD, F-scores and CD_h of a phase."""
    input:
        predictions=f"{OF_SEQUENCE}/{{phase}}/predictions.npz",
        truth=f"{OF_SEQUENCE}/truth.npz",
    output:
        scores=f"{OF_SEQUENCE}/{{phase}}/scores.json",
        frames=f"{OF_SEQUENCE}/{{phase}}/scores.csv",
    log:
        "logs/score_hold/{sequence}/{phase}.log",
    benchmark:
        "benchmarks/score_hold/{sequence}/{phase}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        protocol=HOLD.protocol,
        seed=HOLD.seed,
        code=code_digest("handloom.evaluation.hold_scores"),
    script:
        "../scripts/score_hold.py"


rule score_interchange:
    """iHOI or DiffHOI, run by the user and brought as a file, scored like HOLD's own predictions."""
    input:
        interchange=interchange_file,
        truth=f"{OF_SEQUENCE}/truth.npz",
        hand=MANO_HAND,
    output:
        scores=f"{OF_SEQUENCE}/interchange/{{method}}/scores.json",
        frames=f"{OF_SEQUENCE}/interchange/{{method}}/scores.csv",
    log:
        "logs/score_interchange/{sequence}/{method}.log",
    benchmark:
        "benchmarks/score_interchange/{sequence}/{method}.tsv"
    wildcard_constraints:
        method="iHOI|DiffHOI",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        protocol=HOLD.protocol,
        seed=HOLD.seed,
        code=code_digest("handloom.evaluation.interchange"),
    script:
        "../scripts/score_interchange.py"


rule hold_table:
    """The table of HOLD, or that of its phases (`_ablation`)."""
    input:
        scores=lambda wildcards: collect(
            "results/hold/{sequence}/{phase}/scores.json",
            sequence=ANNOTATED,
            phase=PHASES if wildcards.ablation else ["phase3"],
        )
        + ([] if wildcards.ablation else OTHER_SCORES),
    output:
        csv="results/tables/hold{ablation}.csv",
        markdown="results/tables/hold{ablation}.md",
        html=report(
            "results/tables/hold{ablation}.html",
            caption="../report/hold_table.rst",
            category="Tables",
            labels={"table": "HOLD", "setting": "{ablation}"},
        ),
    log:
        "logs/hold_table{ablation}.log",
    benchmark:
        "benchmarks/hold_table/hold{ablation}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        ablation=lambda wildcards: bool(wildcards.ablation),
        sequences=ANNOTATED,
        benchmarks=lambda wildcards: (
            {phase: {name: phase_benchmarks(name, phase) for name in ANNOTATED} for phase in PHASES}
            if wildcards.ablation
            else {name: phase_benchmarks(name, "phase3") for name in ANNOTATED}
        ),
        code=code_digest("handloom.evaluation.hold_tables"),
    script:
        "../scripts/hold_table.py"


rule sequence_quality:
    """How well each stage did on a sequence, and what to film or set better; needs no annotation."""
    input:
        list=f"{OF_SEQUENCE}/frames.json",
        frames=f"{OF_SEQUENCE}/frames",
        masks=f"{OF_SEQUENCE}/masks",
        object_poses=f"{OF_SEQUENCE}/object_poses.npz",
        estimates=f"{OF_SEQUENCE}/hand_estimates.npz",
        aligned=f"{OF_SEQUENCE}/aligned.npz",
        hand=MANO_HAND,
    output:
        table=f"{OF_SEQUENCE}/quality.csv",
    log:
        "logs/sequence_quality/{sequence}.log",
    benchmark:
        "benchmarks/sequence_quality/{sequence}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_digest("handloom.evaluation.sequence_quality"),
    script:
        "../scripts/sequence_quality.py"


rule hold_quality:
    """The quality of all sequences in one table."""
    input:
        parts=collect("results/hold/{sequence}/quality.csv", sequence=WITH_STAGES),
    output:
        csv="results/tables/hold_quality.csv",
        html=report(
            "results/tables/hold_quality.html",
            caption="../report/hold_quality.rst",
            category="Tables",
            labels={"table": "HOLD, quality of the stages"},
        ),
    log:
        "logs/hold_quality.log",
    benchmark:
        "benchmarks/hold_quality/hold.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("handloom.evaluation.quality_table"),
    script:
        "../scripts/hold_quality.py"


rule hold_overlay:
    """Frames beside the reconstruction laid over them, and a view from elsewhere."""
    input:
        predictions=f"{OF_SEQUENCE}/phase3/predictions.npz",
        frames=f"{OF_SEQUENCE}/frames",
        list=f"{OF_SEQUENCE}/frames.json",
    output:
        picture=report(
            "results/figures/hold/{sequence}.png",
            caption="../report/hold_overlay.rst",
            category="HOLD",
            labels={"picture": "reconstruction", "sequence": "{sequence}"},
        ),
    log:
        "logs/hold_overlay/{sequence}.log",
    benchmark:
        "benchmarks/hold_overlay/{sequence}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=code_digest("handloom.figures.hold_overlay"),
    script:
        "../scripts/hold_overlay.py"


rule hold_turntable:
    """Videos: hand and object turning once, and the reconstruction over the frames."""
    input:
        predictions=f"{OF_SEQUENCE}/{{phase}}/predictions.npz",
        frames=f"{OF_SEQUENCE}/frames",
        list=f"{OF_SEQUENCE}/frames.json",
    output:
        turntable=report(
            f"{OF_SEQUENCE}/{{phase}}/turntable.mp4",
            caption="../report/hold_turntable.rst",
            category="HOLD",
            labels={"picture": "turntable, {phase}", "sequence": "{sequence}"},
        ),
        overlay=report(
            f"{OF_SEQUENCE}/{{phase}}/overlay.mp4",
            caption="../report/hold_video.rst",
            category="HOLD",
            labels={"picture": "video, {phase}", "sequence": "{sequence}"},
        ),
    log:
        "logs/hold_turntable/{sequence}/{phase}.log",
    benchmark:
        "benchmarks/hold_turntable/{sequence}/{phase}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=code_digest("handloom.figures.hold_videos"),
    script:
        "../scripts/hold_turntable.py"


rule hold_export:
    """Coloured meshes, poses, and a page on which the scene can be turned, offline."""
    input:
        predictions=f"{OF_SEQUENCE}/{{phase}}/predictions.npz",
        frames=f"{OF_SEQUENCE}/frames",
        list=f"{OF_SEQUENCE}/frames.json",
    output:
        glb=f"{OF_SEQUENCE}/{{phase}}/export/object.glb",
        ply=f"{OF_SEQUENCE}/{{phase}}/export/object.ply",
        hand=f"{OF_SEQUENCE}/{{phase}}/export/hand.glb",
        scene=f"{OF_SEQUENCE}/{{phase}}/export/scene.glb",
        poses=f"{OF_SEQUENCE}/{{phase}}/export/poses.json",
        page=f"{OF_SEQUENCE}/{{phase}}/scene.html",
    log:
        "logs/hold_export/{sequence}/{phase}.log",
    benchmark:
        "benchmarks/hold_export/{sequence}/{phase}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=code_digest("handloom.figures.mesh_page"),
    script:
        "../scripts/hold_export.py"
