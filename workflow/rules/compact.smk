"""HOLD's phases 1 and 3 with the voxel fields (`hold.field: compact`)."""


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
