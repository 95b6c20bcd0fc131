"""Pictures: what the demo rendered, and what adaptation did."""

from handloom.runtime.assets import handoccnet_lacks

if RUN.demo is not None:

    rule assembly_hands_sheet:
        """The four simultaneous views of the demo's headsets, with joints and boxes on every second row."""
        input:
            annotations=lambda wildcards: annotations_of(wildcards.split),
            images=lambda wildcards: images_of(wildcards.split, "headset1") + images_of(wildcards.split, "headset2"),
        output:
            picture=report(
                "results/figures/demo/assembly_hands_{split}.png",
                caption="../report/demo.rst",
                category="Demo data",
                labels={"data set": "AssemblyHands-ego", "split": "{split}"},
            ),
        log:
            "logs/assembly_hands_sheet/{split}.log",
        benchmark:
            "benchmarks/assembly_hands_sheet/{split}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=2000,
            runtime=10,
        params:
            root=DATASETS.assembly_hands.root,
            version=DATASETS.assembly_hands.version,
            code=code_digest("handloom.demo.contact_sheets"),
        script:
            "../scripts/assembly_hands_sheet.py"

    rule rhd_sheet:
        """Pictures of the demo's Rendered Hand Pose, with joints on every second one."""
        input:
            folder=f"{DATASETS.rhd.root}/RHD_published_v2/{{rhd_split}}",
        output:
            picture=report(
                "results/figures/demo/rhd_{rhd_split}.png",
                caption="../report/demo.rst",
                category="Demo data",
                labels={"data set": "RHD", "split": "{rhd_split}"},
            ),
        log:
            "logs/rhd_sheet/{rhd_split}.log",
        benchmark:
            "benchmarks/rhd_sheet/{rhd_split}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=2000,
            runtime=10,
        params:
            code=code_digest("handloom.demo.contact_sheets"),
        script:
            "../scripts/rhd_sheet.py"

    rule ganerated_sheet:
        """Pictures of the demo's GANerated Hands, without and with objects."""
        input:
            folder=f"{DATASETS.ganerated.root}/data",
        output:
            picture=report(
                "results/figures/demo/ganerated.png",
                caption="../report/demo.rst",
                category="Demo data",
                labels={"data set": "GANerated Hands", "split": "train"},
            ),
        log:
            "logs/ganerated_sheet.log",
        benchmark:
            "benchmarks/ganerated_sheet.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=2000,
            runtime=10,
        params:
            code=code_digest("handloom.demo.contact_sheets"),
        script:
            "../scripts/ganerated_sheet.py"


HANDOCCNET = HOLD.hand.estimation.handoccnet
HANDOCCNET_LACKS = handoccnet_lacks(RUN, Path())
HANDOCCNET_NOTE = (
    f"HandOccNet is not shown, for want of {HANDOCCNET_LACKS}"
    if HANDOCCNET_LACKS
    else "HandOccNet: its published weights, which are not adapted and know colour pictures; it takes each view alone"
)


rule qualitative:
    """Views of the worst, a typical and the most improved hand: input, baseline, S2DHand, HandOccNet if there, truth."""
    input:
        views=[path for headset in RUN.headsets for path in views_of(headset)],
        source_predictions=lambda wildcards: of_headsets(setting_of(wildcards), "source_predictions.npz"),
        rotations=lambda wildcards: of_headsets(setting_of(wildcards), "rotations.json"),
        sample_errors=lambda wildcards: of_headsets(setting_of(wildcards), "sample_errors.npz"),
        predictions=lambda wildcards: of_adaptations(
            [setting_of(wildcards)], "predictions.npz", variants=["s2dhand"], seeds=RUN.seeds[:1]
        ),
        handoccnet=[] if HANDOCCNET_LACKS else HANDOCCNET.checkpoint,
        hand=[] if HANDOCCNET_LACKS else MANO_HAND,
    output:
        picture=report(
            "results/figures/s2d_qualitative{which}.png",
            caption="../report/qualitative.rst",
            category="S2DHand",
            labels=lambda wildcards: {"picture": "hands", "setting": setting_of(wildcards)},
        ),
    log:
        "logs/qualitative{which}.log",
    benchmark:
        "benchmarks/qualitative/s2d{which}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        setting=lambda wildcards: setting_of(wildcards),
        headsets=list(RUN.headsets),
        root_joint=lambda wildcards: SOURCES[setting_of(wildcards)].root_joint,
        seed=RUN.seeds[0],
        handoccnet=None if HANDOCCNET_LACKS else plain(HANDOCCNET),
        note=HANDOCCNET_NOTE,
        code=code_digest("handloom.figures.other_networks"),
    script:
        "../scripts/qualitative.py"


rule adaptation_curves:
    """Label error, rotation error and the distance between student and teacher over the epochs."""
    input:
        histories=of_adaptations(SETTINGS, "history.csv"),
    output:
        picture=report(
            "results/figures/s2d_adaptation_curves.png",
            caption="../report/adaptation_curves.rst",
            category="S2DHand",
            labels={"picture": "adaptation curves", "setting": "both"},
        ),
    log:
        "logs/adaptation_curves.log",
    benchmark:
        "benchmarks/adaptation_curves.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=code_digest("handloom.figures.curves"),
    script:
        "../scripts/adaptation_curves.py"


rule pretraining_curves:
    """Losses and held-out error of the source networks that were trained here."""
    input:
        histories=collect("results/s2d/source/{setting}/history.csv", setting=TRAINED),
    output:
        picture=report(
            "results/figures/s2d_pretraining_curves.png",
            caption="../report/pretraining_curves.rst",
            category="S2DHand",
            labels={"picture": "source training", "setting": "both"},
        ),
    log:
        "logs/pretraining_curves.log",
    benchmark:
        "benchmarks/pretraining_curves.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        settings=TRAINED,
        code=code_digest("handloom.figures.curves"),
    script:
        "../scripts/pretraining_curves.py"


rule rotation_errors:
    """Angle between estimated and calibrated rotation of every pair, before and after adaptation."""
    input:
        rotations=[path for setting in SETTINGS for path in of_headsets(setting, "rotations.json")],
        scores=[path for setting in SETTINGS for path in of_headsets(setting, "scores.csv")],
    output:
        picture=report(
            "results/figures/s2d_rotation_error.png",
            caption="../report/rotation_error.rst",
            category="S2DHand",
            labels={"picture": "rotation errors", "setting": "both"},
        ),
    log:
        "logs/rotation_errors.log",
    benchmark:
        "benchmarks/rotation_errors.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=code_digest("handloom.figures.rotation_error"),
    script:
        "../scripts/rotation_errors.py"
