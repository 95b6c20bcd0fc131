"""HOLD: a sequence's frames, masks and first estimates, the three phases, scores and pictures."""

for rendered, thing in RENDERED.items():

    rule:
        name:
            f"render_hold_{rendered}"
        # A hand that turns an unknown object before a camera, in HO3D-v3's layout.
        output:
            frames=directory(f"{HOLD_DEMO_ROOT}/train/{rendered}"),
            model=directory(f"{HOLD_DEMO_ROOT}/models/{thing}"),
        log:
            f"logs/render_hold_sequence/{rendered}.log",
        benchmark:
            f"benchmarks/render_hold_sequence/{rendered}.tsv"
        conda:
            ENVIRONMENT
        threads: 8
        resources:
            mem_mb=3000,
            runtime=60,
        params:
            demo=plain(HOLD.demo),
            sequence=rendered,
            code=code_digest("handloom.demo.hold_sequences"),
        script:
            "../scripts/render_hold_sequence.py"


rule extract_frames:
    """The frames of a sequence, in order, and when they were taken."""
    input:
        source=sequence_source,
    output:
        frames=directory(f"{OF_SEQUENCE}/frames"),
        list=f"{OF_SEQUENCE}/frames.json",
    log:
        "logs/extract_frames/{sequence}.log",
    benchmark:
        "benchmarks/extract_frames/{sequence}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        sequence=sequence_of,
        code=code_digest("handloom.datasets.video"),
    script:
        "../scripts/extract_frames.py"


rule sequence_masks:
    """Which pixels show the object and which the hand."""
    input:
        frames=f"{OF_SEQUENCE}/frames",
        list=f"{OF_SEQUENCE}/frames.json",
    output:
        masks=directory(f"{OF_SEQUENCE}/masks"),
        picture=f"{OF_SEQUENCE}/masks.png",
    log:
        "logs/sequence_masks/{sequence}.log",
    benchmark:
        "benchmarks/sequence_masks/{sequence}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=GPUS,
    params:
        sequence=sequence_of,
        device=RUN.device,
        code=code_digest("handloom.reconstruction.sequence_inputs"),
    script:
        "../scripts/sequence_masks.py"


rule object_poses:
    """The object's pose in every frame and points of its surface, by structure from motion."""
    input:
        frames=f"{OF_SEQUENCE}/frames",
        list=f"{OF_SEQUENCE}/frames.json",
        masks=f"{OF_SEQUENCE}/masks",
    output:
        poses=f"{OF_SEQUENCE}/object_poses.npz",
        picture=f"{OF_SEQUENCE}/object_poses.png",
    log:
        "logs/object_poses/{sequence}.log",
    benchmark:
        "benchmarks/object_poses/{sequence}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        sfm=plain(HOLD.sfm),
        sequence=sequence_of,
        seed=HOLD.seed,
        code=code_digest("handloom.reconstruction.sequence_inputs"),
    script:
        "../scripts/object_poses.py"


rule hand_estimates:
    """The joints of the hand in every frame, by a network."""
    input:
        frames=f"{OF_SEQUENCE}/frames",
        masks=f"{OF_SEQUENCE}/masks",
        checkpoint=hand_checkpoint,
        object_poses=f"{OF_SEQUENCE}/object_poses.npz",
        hand=MANO_HAND,
    output:
        estimates=f"{OF_SEQUENCE}/hand_estimates.npz",
    log:
        "logs/hand_estimates/{sequence}.log",
    benchmark:
        "benchmarks/hand_estimates/{sequence}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=GPUS,
    params:
        estimation=plain(HOLD.hand.estimation),
        device=RUN.device,
        code=code_digest("handloom.reconstruction.hand_estimates"),
    script:
        "../scripts/hand_estimates.py"


rule hand_poses:
    """The hand model laid onto the joints of all frames."""
    input:
        estimates=f"{OF_SEQUENCE}/hand_estimates.npz",
        object_poses=f"{OF_SEQUENCE}/object_poses.npz",
        hand=MANO_HAND,
    output:
        poses=f"{OF_SEQUENCE}/hand_poses.npz",
    log:
        "logs/hand_poses/{sequence}.log",
    benchmark:
        "benchmarks/hand_poses/{sequence}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        registration=plain(HOLD.hand.registration),
        seed=HOLD.seed,
        code=code_digest("handloom.reconstruction.hand_registration"),
    script:
        "../scripts/hand_poses.py"


rule align_hand_object:
    """Hand and object brought into one frame, and the object's size."""
    input:
        hand_poses=f"{OF_SEQUENCE}/hand_poses.npz",
        object_poses=f"{OF_SEQUENCE}/object_poses.npz",
        estimates=f"{OF_SEQUENCE}/hand_estimates.npz",
        masks=f"{OF_SEQUENCE}/masks",
        hand=MANO_HAND,
    output:
        aligned=f"{OF_SEQUENCE}/aligned.npz",
        history=f"{OF_SEQUENCE}/alignment.csv",
    log:
        "logs/align_hand_object/{sequence}.log",
    benchmark:
        "benchmarks/align_hand_object/{sequence}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        hand=plain(HOLD.hand),
        seed=HOLD.seed,
        code=code_digest("handloom.reconstruction.alignment"),
    script:
        "../scripts/align_hand_object.py"


rule build_sequence:
    """HOLD's `build/` folder: what its own code starts from, and ours."""
    input:
        aligned=f"{OF_SEQUENCE}/aligned.npz",
        object_poses=f"{OF_SEQUENCE}/object_poses.npz",
        frames=f"{OF_SEQUENCE}/frames",
        list=f"{OF_SEQUENCE}/frames.json",
        masks=f"{OF_SEQUENCE}/masks",
        hand=MANO_HAND,
    output:
        build=directory(f"{OF_SEQUENCE}/build"),
    log:
        "logs/build_sequence/{sequence}.log",
    benchmark:
        "benchmarks/build_sequence/{sequence}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        code=code_digest("handloom.reconstruction.sequence_build"),
    script:
        "../scripts/build_sequence.py"


rule hand_template:
    """Signed distances of the shaped hand at rest: the shape prior of the hand's field."""
    input:
        build=build_of,
        hand=MANO_HAND,
    output:
        template=f"{OF_SEQUENCE}/hand_template.npz",
    log:
        "logs/hand_template/{sequence}.log",
    benchmark:
        "benchmarks/hand_template/{sequence}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        cells=HOLD.compact.hand_cells,
        code=code_digest("handloom.reconstruction.compact.hand_template"),
    script:
        "../scripts/hand_template.py"


rule train_phase:
    """Phase 1, or phase 3 from phase 2's poses (`phase3`) or phase 1's (`phase3_unrefined`)."""
    input:
        build=build_of,
        template=f"{OF_SEQUENCE}/hand_template.npz",
        poses=lambda wildcards: {
            "phase1": [],
            "phase3_unrefined": f"results/hold/{wildcards.sequence}/phase1/poses.npz",
            "phase3": f"results/hold/{wildcards.sequence}/phase2/poses.npz",
        }[wildcards.phase],
        hand=MANO_HAND,
    output:
        network=f"{OF_SEQUENCE}/{{phase}}/network.safetensors",
        poses=f"{OF_SEQUENCE}/{{phase}}/poses.npz",
        mesh=f"{OF_SEQUENCE}/{{phase}}/object.npz",
        history=f"{OF_SEQUENCE}/{{phase}}/history.csv",
        previews=directory(f"{OF_SEQUENCE}/{{phase}}/previews"),
    log:
        "logs/train_phase/{sequence}/{phase}.log",
    benchmark:
        "benchmarks/train_phase/{sequence}/{phase}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=GPUS,
    params:
        compact=plain(HOLD.compact),
        phase=lambda wildcards: "phase1" if wildcards.phase == "phase1" else "phase3",
        files=lambda wildcards: 2 if wildcards.phase == "phase1" else 3,
        work=lambda wildcards: f"results/hold/{wildcards.sequence}/work/{wildcards.phase}",
        seed=HOLD.seed,
        device=RUN.device,
        code=code_digest("handloom.reconstruction.compact.phases"),
    script:
        "../scripts/train_phase.py"


rule refine_poses:
    """Phase 2: poses moved so that silhouettes fit the masks and the hand touches the object."""
    input:
        build=build_of,
        poses=f"{OF_SEQUENCE}/phase1/poses.npz",
        mesh=f"{OF_SEQUENCE}/phase1/object.npz",
        hand=MANO_HAND,
    output:
        poses=f"{OF_SEQUENCE}/phase2/poses.npz",
        history=f"{OF_SEQUENCE}/phase2/history.csv",
    log:
        "logs/refine_poses/{sequence}.log",
    benchmark:
        "benchmarks/refine_poses/{sequence}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=GPUS,
    params:
        refinement=plain(HOLD.refinement),
        cube_margin=HOLD.compact.cube_margin,
        device=RUN.device,
        code=code_digest("handloom.reconstruction.compact.phases"),
    script:
        "../scripts/refine_poses.py"


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


rule hold_overlay:
    """Frames beside the reconstruction laid over them, and a view from elsewhere."""
    input:
        predictions=f"{OF_SEQUENCE}/phase3/predictions.npz",
        frames=f"{OF_SEQUENCE}/frames",
        list=f"{OF_SEQUENCE}/frames.json",
        camera=f"{OF_SEQUENCE}/aligned.npz",
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
        camera=f"{OF_SEQUENCE}/aligned.npz",
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
        camera=f"{OF_SEQUENCE}/aligned.npz",
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
