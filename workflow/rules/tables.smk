"""Scores and tables."""


use rule stage as score_headset with:
    """Mono-M and Dual-M of the source network and of every adapted one, for all camera pairs of a headset."""
    input:
        labels=headset_labels,
        source_predictions="results/s2d/{setting}/{headset}/source_predictions.npz",
        rotations="results/s2d/{setting}/{headset}/rotations.json",
        predictions=lambda wildcards: of_adaptations(
            [wildcards.setting], "predictions.npz", headsets=[wildcards.headset]
        ),
    output:
        scores="results/s2d/{setting}/{headset}/scores.csv",
        sample_errors="results/s2d/{setting}/{headset}/sample_errors.npz",
    pathvars:
        job="score_headset/{setting}/{headset}",
    resources:
        **needs(mem_mb=4000),
    params:
        **stage("evaluation.headset_scores:score_headset", pairs=list(RUN.pairs)),


use rule stage as analyse_views with:
    """What the two views' poses of a headset could be if their rotation, orientation or better view were known."""
    input:
        labels=headset_labels,
        source_predictions="results/s2d/{setting}/{headset}/source_predictions.npz",
        rotations="results/s2d/{setting}/{headset}/rotations.json",
        answers=lambda wildcards: (
            f"results/s2d/{wildcards.setting}/{wildcards.headset}/drawn_answers.npz"
            if wildcards.setting in PLUS
            else []
        ),
        predictions=lambda wildcards: of_adaptations(
            [wildcards.setting], "predictions.npz", headsets=[wildcards.headset], seeds=RUN.seeds[:1]
        ),
    output:
        analysis="results/s2d/{setting}/{headset}/view_analysis.csv",
    pathvars:
        job="analyse_views/{setting}/{headset}",
    resources:
        **needs(runtime=30),
    params:
        **stage("evaluation.view_analysis:analyse_views", pairs=list(RUN.pairs)),


use rule stage as s2d_table with:
    """One of the two tables of S2DHand, as numbers and as the paper prints it."""
    input:
        scores=lambda wildcards: of_headsets(wildcards.setting, "scores.csv"),
    output:
        csv="results/tables/s2d_{setting}.csv",
        markdown="results/tables/s2d_{setting}.md",
        html=shown(
            "results/tables/s2d_{setting}.html", "s2d_table", "Tables", {"table": "S2DHand", "setting": "{setting}"}
        ),
    pathvars:
        job="s2d_table/{setting}",
    resources:
        **needs(mem_mb=1000, runtime=10),
    params:
        **stage("evaluation.s2d_table:write_s2d_table", fidelity=RUN.fidelity, preset=RUN.preset),


use rule stage as challenge_submission with:
    """S2DHand's poses of all configured camera pairs in the layout of the public challenge on this task."""
    input:
        crops=lambda wildcards: [
            path for headset in RUN.headsets for path in crops_of(wildcards.setting, headset, all_cameras(headset))
        ],
        predictions=lambda wildcards: of_adaptations(
            [wildcards.setting], "predictions.npz", variants=["s2dhand"], seeds=RUN.seeds[:1]
        ),
    output:
        submission="results/s2d/{setting}/challenge.json",
    pathvars:
        job="challenge_submission/{setting}",
    resources:
        **needs(runtime=10),
    params:
        **stage("evaluation.challenge:write_submission"),


rule cost:
    """Time and peak memory of every rule, from the benchmark files of its jobs, but its own; made last of all."""
    input:
        finished=[
            *collect("results/tables/s2d_{setting}.csv", setting=SETTINGS),
            *[*HOLD_TABLES, *FIGURES, *HOLD_FIGURES, *FOOTAGE_FILES],
        ],
    output:
        table=shown("results/tables/cost.csv", "cost", "Tables", {"table": "what it cost"}),
    log:
        "logs/cost.log",
    conda:
        ENVIRONMENT
    resources:
        **needs(mem_mb=1000, runtime=10),
    params:
        **stage("evaluation.benchmarks:write_cost", benchmarks=f"{PLACE}benchmarks"),
    script:
        "../scripts/stage.py"
