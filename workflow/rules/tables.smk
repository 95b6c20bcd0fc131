"""Scores and tables."""


use rule stage as s2d_table with:
    """One of the two tables of S2DHand, as numbers and as the paper prints it, and the scores in it."""
    input:
        **of_each_headset(table_files),
    output:
        **of_each_headset(scored_files),
        csv="results/tables/s2d_{setting}.csv",
        markdown="results/tables/s2d_{setting}.md",
        html=shown(
            "results/tables/s2d_{setting}.html", "s2d_table", "Tables", {"table": "S2DHand", "setting": "{setting}"}
        ),
    pathvars:
        job="s2d_table/{setting}",
    resources:
        **needs(mem_mb=4000),
    params:
        **steps(
            *(step for headset in RUN.headsets for step in scoring_steps(headset)),
            stage(
                "evaluation.s2d_table:write_s2d_table",
                files={"scores": [f"scores_{headset}" for headset in RUN.headsets]},
                fidelity=RUN.fidelity,
                preset=RUN.preset,
            ),
        ),


use rule stage as challenge_submission with:
    """S2DHand's poses of all configured camera pairs in the layout of the public challenge on this task."""
    input:
        crops=lambda wildcards: [
            path for headset in RUN.headsets for path in crops_of(wildcards.setting, headset, CAMERAS)
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


localrules:
    all,


rule all:
    """All tables, every figure, and what it all cost: time and memory of every rule, by its jobs' benchmark files."""
    input:
        finished=[
            *collect("results/tables/s2d_{setting}.csv", setting=SETTINGS),
            *[*FIGURES, *HOLD_TABLES, *HOLD_QUALITY, *HOLD_FIGURES, *HOLD_PAGES, *FOOTAGE_FILES],
            "results/overview.html",
        ],
    output:
        table=shown("results/tables/cost.csv", "cost", "Tables", {"table": "what it cost"}),
    log:
        "logs/all.log",
    conda:
        ENVIRONMENT
    resources:
        **needs(mem_mb=1000, runtime=10),
    params:
        **stage("evaluation.benchmarks:write_cost", benchmarks=f"{PLACE}benchmarks"),
    script:
        "../scripts/stage.py"
