"""Pictures of what adaptation did."""

from handloom.check import handoccnet_lacks

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
        picture="results/figures/s2d_qualitative{which}.png",
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


use rule stage as pretraining_curves with:
    """Losses and held-out error of the source networks that were trained here."""
    input:
        histories=training_histories,
    output:
        picture="results/figures/s2d_pretraining_curves.png",
    pathvars:
        job="pretraining_curves",
    resources:
        **needs(runtime=20),
    params:
        **stage("figures.plots:draw_pretraining_curves"),


use rule stage as s2d_plots with:
    """Curves of all adaptations; errors of all pairs' rotations, before and after; what limits the views' labels."""
    input:
        histories=of_adaptations(SETTINGS, "history.csv"),
        rotations=[path for setting in SETTINGS for path in of_headsets(setting, "rotations.json")],
        scores=[path for setting in SETTINGS for path in of_headsets(setting, "scores.csv")],
        analyses=[path for setting in SETTINGS for path in of_headsets(setting, "view_analysis.csv")],
    output:
        curves="results/figures/s2d_adaptation_curves.png",
        rotation_error="results/figures/s2d_rotation_error.png",
        view_analysis="results/figures/s2d_view_analysis.png",
    pathvars:
        job="s2d_plots",
    resources:
        **needs(runtime=20),
    params:
        **steps(
            stage("figures.plots:draw_adaptation_curves", files={"picture": "curves"}),
            stage("figures.plots:draw_rotation_errors", files={"picture": "rotation_error"}),
            stage("figures.plots:draw_view_analysis", files={"picture": "view_analysis"}),
        ),


use rule stage as overview with:
    """One page of what the run found: both papers' figures and tables, and how sure own sequences and pairs are."""
    input:
        hold_figures=[f"results/figures/hold/{name}.png" for name in SEQUENCES],
        hold_tables=[f"{table.removesuffix('csv')}html" for table in HOLD_TABLES],
        hold_quality=[f"results/hold/{name}/quality.csv" for name in WITH_STAGES],
        s2d_figures=[path for path in FIGURES if "/demo/" not in path],
        s2d_tables=collect("results/tables/s2d_{setting}.html", setting=SETTINGS),
        footage_figures=[path for path in FOOTAGE_FILES if path.endswith(("jpg", "png"))],
        footage_quality=[path for path in FOOTAGE_FILES if path.endswith("quality.csv")],
    output:
        page=shown("results/overview.html", "overview", "Overview", {"page": "what this run found"}),
    pathvars:
        job="overview",
    resources:
        **needs(runtime=10),
    params:
        **stage("figures.overview:write_overview", preset=RUN.preset, fidelity=RUN.fidelity),
