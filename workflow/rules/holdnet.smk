"""HOLD's phases 1 and 3 with the paper's networks (`hold.field: holdnet`), in place of the voxel fields."""

from handloom.runtime.config.fields import HoldNetTrainingSettings


def length_of(wildcards):
    """The epochs of a phase; without refinement phase 3 is as long."""
    return (HOLD.holdnet.phase1 if wildcards.phase == "phase1" else HOLD.holdnet.phase3).epochs


def released_checkpoint(wildcards):
    """The checkpoint of the HOLD release that phase 3 goes on from, if the user names one for the sequence."""
    path = HOLD.holdnet.checkpoints.get(wildcards.sequence) if wildcards.phase == "phase3" else None
    return [] if path is None else by_hand(f"hold.holdnet.checkpoints.{wildcards.sequence}", [path])[0]


def first_poses(wildcards):
    """The poses that a phase starts from: an earlier one's, but for the build folder's or a released checkpoint's."""
    if wildcards.phase == "phase1" or released_checkpoint(wildcards):
        return []
    return f"results/hold/{wildcards.sequence}/phase{1 if wildcards.phase == 'phase3_unrefined' else 2}/poses.npz"


def released_prior(wildcards):
    """The released prior of the hand's shape, if the user has it."""
    path = HOLD.holdnet.prior.checkpoint
    return [] if path is None else by_hand("hold.holdnet.prior.checkpoint", [path])[0]


def first_shape(wildcards):
    """The object's first shape, unless the run is as released or goes on from a checkpoint."""
    if HOLD.holdnet.fidelity == "faithful" or released_checkpoint(wildcards):
        return []
    return f"results/hold/{wildcards.sequence}/object_prior.safetensors"


use rule stage as hand_prior with:
    """The network of the hand's shape, fitted to the shaped hand at rest."""
    input:
        on_device(f"{OF_SEQUENCE}/hand_prior.safetensors"),
        build=build_of,
        checkpoint=released_prior,
        hand=hand_model_of,
    output:
        prior=f"{OF_SEQUENCE}/hand_prior.safetensors",
        figures=f"{OF_SEQUENCE}/hand_prior.json",
    pathvars:
        job="hand_prior/{sequence}",
    threads: 2
    resources:
        **needs(mem_mb=3000, gpu=1),
    params:
        **stage(
            "reconstruction.holdnet.hand_prior:hand_prior",
            settings=part(HOLD.holdnet.prior, "steps", "points", "pool"),
            sizes=HOLD.holdnet.network.sdf,
            seed=HOLD.seed,
            device=RUN.device,
            watched=contents_of(released_prior, besides=sequence_state(BUILD_IN)),
        ),


use rule stage as object_prior with:
    """The network of the object's shape, fitted to the shape by stereo."""
    input:
        on_device(f"{OF_SEQUENCE}/object_prior.safetensors"),
        build=build_of,
        shape=f"{OF_SEQUENCE}/shape.npz",
        hand=hand_model_of,
    output:
        prior=f"{OF_SEQUENCE}/object_prior.safetensors",
        figures=f"{OF_SEQUENCE}/object_prior.json",
    pathvars:
        job="object_prior/{sequence}",
    threads: 2
    resources:
        **needs(mem_mb=3000, gpu=1),
    params:
        **stage(
            "reconstruction.holdnet.object_prior:object_prior",
            settings=part(HOLD.holdnet.prior, "steps", "points", "pool"),
            sizes=HOLD.holdnet.network.sdf,
            barf=HOLD.holdnet.network.barf,
            seed=HOLD.seed,
            device=RUN.device,
            watched=sequence_state(BUILD_IN),
        ),


use rule stage as train_holdnet with:
    """Phase 1, or phase 3 from phase 2's poses (`phase3`), phase 1's (`phase3_unrefined`), or a released checkpoint."""
    input:
        on_device(f"{OF_SEQUENCE}/{{phase}}/network.safetensors"),
        build=build_of,
        prior=f"{OF_SEQUENCE}/hand_prior.safetensors",
        object_prior=first_shape,
        first_poses=first_poses,
        checkpoint=released_checkpoint,
        hand=hand_model_of,
    output:
        network=f"{OF_SEQUENCE}/{{phase}}/network.safetensors",
        poses=f"{OF_SEQUENCE}/{{phase}}/poses.npz",
        mesh=f"{OF_SEQUENCE}/{{phase}}/object.npz",
        history=f"{OF_SEQUENCE}/{{phase}}/history.csv",
        previews=directory(f"{OF_SEQUENCE}/{{phase}}/previews"),
    pathvars:
        job="train_holdnet/{sequence}/{phase}",
    wildcard_constraints:
        phase="phase1|phase3_unrefined|phase3",
    threads: 2
    resources:
        # Of the host; a step needs about 20 MB a ray over the number of chunks where it computes.
        **needs(mem_mb=8000, runtime=2880, gpu=1, with_gpu={"mem_mb": 32000}),
        # Resources, since they only change what a training costs: no job runs again for them.
        chunks=HOLD.holdnet.chunks,
        checkpoint_seconds=HOLD.holdnet.checkpoint_seconds,
    params:
        **stage(
            "reconstruction.holdnet.phases:train_holdnet",
            settings=part(HOLD.holdnet, *HoldNetTrainingSettings.model_fields),
            epochs=length_of,
            seed=HOLD.seed,
            device=RUN.device,
            watched=contents_of(released_checkpoint, besides=sequence_state(BUILD_IN)),
        ),
