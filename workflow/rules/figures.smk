"""Pictures: what the demo rendered, and what adaptation did."""

from handloom.check import handoccnet_lacks

if RUN.demo is not None:

    use rule stage as assembly_hands_sheet with:
        """The four simultaneous views of the demo's headsets, with joints and boxes on every second row."""
        input:
            annotations=lambda wildcards: annotations_of(wildcards.split),
            images=lambda wildcards: images_of(wildcards.split),
        output:
            picture=demo_sheet("assembly_hands_{split}", "AssemblyHands-ego", "{split}"),
        pathvars:
            job="assembly_hands_sheet/{split}",
        resources:
            **needs(runtime=10),
        params:
            **stage("demo.contact_sheets:assembly_hands_sheet"),

    use rule stage as rhd_sheet with:
        """Pictures of the demo's Rendered Hand Pose, with joints on every second one."""
        input:
            folder=f"{DATASETS.rhd.root}/RHD_published_v2/{{rhd_split}}",
        output:
            picture=demo_sheet("rhd_{rhd_split}", "RHD", "{rhd_split}"),
        pathvars:
            job="rhd_sheet/{rhd_split}",
        resources:
            **needs(runtime=10),
        params:
            **stage("demo.contact_sheets:rhd_sheet"),

    use rule stage as ganerated_sheet with:
        """Pictures of the demo's GANerated Hands, without and with objects."""
        input:
            folder=f"{DATASETS.ganerated.root}/data",
        output:
            picture=demo_sheet("ganerated", "GANerated Hands", "train"),
        pathvars:
            job="ganerated_sheet",
        resources:
            **needs(runtime=10),
        params:
            **stage("demo.contact_sheets:ganerated_sheet"),


HANDOCCNET = HOLD.hand.estimation.handoccnet
HANDOCCNET_LACKS = handoccnet_lacks(RUN, Path())
HANDOCCNET_NOTE = (
    f"HandOccNet is not shown, for want of {HANDOCCNET_LACKS}"
    if HANDOCCNET_LACKS
    else "HandOccNet: its published weights, which are not adapted and know colour pictures; it takes each view alone"
)


use rule stage as qualitative with:
    """Views of the median, the most improved and the worst hand: input, baseline, S2DHand(+), HandOccNet if there, truth."""
    input:
        crops=lambda wildcards: drawn_crops(wildcards, "npz"),
        labels=lambda wildcards: drawn_crops(wildcards, "labels.npz"),
        source_predictions=lambda wildcards: of_headsets(setting_of(wildcards), "source_predictions.npz"),
        rotations=lambda wildcards: of_headsets(setting_of(wildcards), "rotations.json"),
        sample_errors=lambda wildcards: of_headsets(setting_of(wildcards), "sample_errors.npz"),
        predictions=lambda wildcards: of_adaptations([setting_of(wildcards)], "predictions.npz", seeds=RUN.seeds[:1]),
        handoccnet=[] if HANDOCCNET_LACKS else HANDOCCNET.checkpoint,
        hand=[] if HANDOCCNET_LACKS else MANO_HAND,
    output:
        picture=shown(
            "results/figures/s2d_qualitative{which}.png",
            "qualitative",
            "S2DHand",
            lambda wildcards: {"picture": "hands", "setting": setting_of(wildcards)},
        ),
    log:
        "logs/qualitative{which}.log",
    benchmark:
        "benchmarks/qualitative/s2d{which}.tsv"
    resources:
        **needs(runtime=20),
    params:
        **stage(
            "figures.qualitative:draw_qualitative",
            setting=lambda wildcards: setting_of(wildcards),
            seed=RUN.seeds[0],
            handoccnet_settings=None if HANDOCCNET_LACKS else HANDOCCNET,
            note=HANDOCCNET_NOTE,
        ),


use rule stage as adaptation_curves with:
    """Label error, rotation error and the distance between student and teacher over the epochs."""
    input:
        histories=of_adaptations(SETTINGS, "history.csv"),
    output:
        picture=s2d_figure("adaptation_curves", "adaptation curves"),
    pathvars:
        job="adaptation_curves",
    resources:
        **needs(runtime=20),
    params:
        **stage("figures.plots:draw_adaptation_curves"),


use rule stage as pretraining_curves with:
    """Losses and held-out error of the source networks that were trained here."""
    input:
        histories=training_histories,
    output:
        picture=s2d_figure("pretraining_curves", "source training"),
    pathvars:
        job="pretraining_curves",
    resources:
        **needs(runtime=20),
    params:
        **stage("figures.plots:draw_pretraining_curves"),


use rule stage as rotation_errors with:
    """Angle between estimated and calibrated rotation of every pair, before and after adaptation."""
    input:
        rotations=[path for setting in SETTINGS for path in of_headsets(setting, "rotations.json")],
        scores=[path for setting in SETTINGS for path in of_headsets(setting, "scores.csv")],
    output:
        picture=s2d_figure("rotation_error", "rotation errors"),
    pathvars:
        job="rotation_errors",
    resources:
        **needs(runtime=20),
    params:
        **stage("figures.plots:draw_rotation_errors"),


use rule stage as view_analysis with:
    """Mono-M that the networks have, and that two views' poses could have: what is left of it, and how much reached."""
    input:
        analyses=[path for setting in SETTINGS for path in of_headsets(setting, "view_analysis.csv")],
    output:
        picture=s2d_figure("view_analysis", "what limits labels"),
    pathvars:
        job="view_analysis",
    resources:
        **needs(runtime=20),
    params:
        **stage("figures.plots:draw_view_analysis"),
