"""HOLD: a sequence's frames, masks and first estimates, and phase 2; phases 1 and 3 are the field's."""

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
