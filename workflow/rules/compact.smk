"""HOLD's phases 1 and 3 with the voxel fields (`hold.field: compact`)."""


use rule stage as train_phase with:
    """Phase 1, or phase 3 from phase 2's poses (`phase3`) or phase 1's (`phase3_unrefined`)."""
    input:
        on_device(f"{OF_SEQUENCE}/{{phase}}/network.safetensors"),
        build=build_of,
        template=f"{OF_SEQUENCE}/hand_template.npz",
        shape=f"{OF_SEQUENCE}/shape.npz",
        first_poses=lambda wildcards: {
            "phase1": [],
            "phase3_unrefined": f"results/hold/{wildcards.sequence}/phase1/poses.npz",
            "phase3": f"results/hold/{wildcards.sequence}/phase2/poses.npz",
        }[wildcards.phase],
        hand=hand_model_of,
    output:
        network=f"{OF_SEQUENCE}/{{phase}}/network.safetensors",
        poses=f"{OF_SEQUENCE}/{{phase}}/poses.npz",
        mesh=f"{OF_SEQUENCE}/{{phase}}/object.npz",
        history=f"{OF_SEQUENCE}/{{phase}}/history.csv",
        previews=directory(f"{OF_SEQUENCE}/{{phase}}/previews"),
    pathvars:
        job="train_phase/{sequence}/{phase}",
    wildcard_constraints:
        phase="phase1|phase3_unrefined|phase3",
    threads: 2
    resources:
        **needs(mem_mb=4000, runtime=240, gpu=1),
        checkpoint_seconds=HOLD.compact.checkpoint_seconds,
    params:
        **stage(
            "reconstruction.compact.phases:train_phase",
            settings=without(HOLD.compact, "phase1", "phase3", "hand_cells", "checkpoint_seconds", "points_reach"),
            length=lambda wildcards: plain(
                HOLD.compact.phase1 if wildcards.phase == "phase1" else HOLD.compact.phase3
            ),
            seed=HOLD.seed,
            device=RUN.device,
            watched=sequence_state(BUILD_IN),
        ),
