"""HOLD's phases 1 and 3 with the paper's networks (`hold.field: holdnet`), in place of the voxel fields."""

from handloom.runtime.config.holdnet_training import COST_ONLY


def phase_settings(wildcards):
    """What a phase of HOLD-Net depends on: not the other's length, the prior, which is a file, or what only costs."""
    left_out = {"phase1", "phase3", "prior", "checkpoints", *COST_ONLY} - {length_of(wildcards)}
    return {name: value for name, value in plain(HOLD.holdnet).items() if name not in left_out}


def length_of(wildcards):
    """The setting that holds a phase's length; without refinement phase 3 is as long."""
    return "phase1" if wildcards.phase == "phase1" else "phase3"


def phase_start(wildcards):
    """What a phase starts from beside the prior: poses of an earlier one, or a checkpoint of the HOLD release."""
    name = wildcards.sequence
    if wildcards.phase == "phase3" and name in HOLD.holdnet.checkpoints:
        return by_hand(f"hold.holdnet.checkpoints.{name}", [HOLD.holdnet.checkpoints[name]])[0]
    return {
        "phase1": [],
        "phase3_unrefined": f"results/hold/{name}/phase1/poses.npz",
        "phase3": f"results/hold/{name}/phase2/poses.npz",
    }[wildcards.phase]


def kind_of_start(wildcards):
    """Whether that is poses or a checkpoint; nothing where a phase starts from the build folder's own poses."""
    if wildcards.phase == "phase3" and wildcards.sequence in HOLD.holdnet.checkpoints:
        return ["checkpoint"]
    return [] if wildcards.phase == "phase1" else ["poses"]


def released_prior(wildcards):
    """The released prior of the hand's shape, if the user has it."""
    path = HOLD.holdnet.prior.checkpoint
    return [] if path is None else by_hand("hold.holdnet.prior.checkpoint", [path])[0]


rule hand_prior:
    """The network of the hand's shape, fitted to the shaped hand at rest."""
    input:
        build=build_of,
        checkpoint=released_prior,
        hand=MANO_HAND,
    output:
        prior=f"{OF_SEQUENCE}/hand_prior.safetensors",
        figures=f"{OF_SEQUENCE}/hand_prior.json",
    log:
        "logs/hand_prior/{sequence}.log",
    benchmark:
        "benchmarks/hand_prior/{sequence}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=GPUS,
    params:
        prior=plain(HOLD.holdnet.prior),
        sizes=plain(HOLD.holdnet.network.sdf),
        seed=HOLD.seed,
        device=RUN.device,
        code=code_digest("handloom.reconstruction.holdnet.hand_prior"),
    script:
        "../scripts/hand_prior.py"


rule train_holdnet:
    """Phase 1, or phase 3 from phase 2's poses (`phase3`), phase 1's (`phase3_unrefined`), or a released checkpoint."""
    input:
        build=build_of,
        prior=f"{OF_SEQUENCE}/hand_prior.safetensors",
        start=phase_start,
        hand=MANO_HAND,
    output:
        network=f"{OF_SEQUENCE}/{{phase}}/network.safetensors",
        poses=f"{OF_SEQUENCE}/{{phase}}/poses.npz",
        mesh=f"{OF_SEQUENCE}/{{phase}}/object.npz",
        history=f"{OF_SEQUENCE}/{{phase}}/history.csv",
        previews=directory(f"{OF_SEQUENCE}/{{phase}}/previews"),
    log:
        "logs/train_holdnet/{sequence}/{phase}.log",
    benchmark:
        "benchmarks/train_holdnet/{sequence}/{phase}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        # Of the host; a step needs about 20 MB a ray over the number of parts where it computes.
        mem_mb=8000,
        runtime=2880,
        gpu=GPUS,
    params:
        holdnet=phase_settings,
        phase=length_of,
        start=kind_of_start,
        work=lambda wildcards: f"results/hold/{wildcards.sequence}/work/{wildcards.phase}",
        seed=HOLD.seed,
        device=RUN.device,
        code=code_digest("handloom.reconstruction.holdnet.phases"),
    script:
        "../scripts/train_holdnet.py"
