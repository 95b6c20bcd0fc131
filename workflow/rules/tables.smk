"""Scores and tables."""


rule score_headset:
    """Mono-M and Dual-M of the source network and of every adapted one, for all camera pairs of a headset."""
    input:
        views=headset_views,
        source_predictions="results/s2d/{setting}/{headset}/source_predictions.npz",
        rotations="results/s2d/{setting}/{headset}/rotations.json",
        predictions=lambda wildcards: of_adaptations(
            [wildcards.setting], "predictions.npz", headsets=[wildcards.headset]
        ),
    output:
        scores="results/s2d/{setting}/{headset}/scores.csv",
        sample_errors="results/s2d/{setting}/{headset}/sample_errors.npz",
    log:
        "logs/score_headset/{setting}/{headset}.log",
    benchmark:
        "benchmarks/score_headset/{setting}/{headset}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        pairs=list(RUN.pairs),
        root_joint=lambda wildcards: SOURCES[wildcards.setting].root_joint,
        code=code_digest("handloom.evaluation.scores"),
    script:
        "../scripts/score_headset.py"


rule s2d_table:
    """One of the two tables of S2DHand, as numbers and as the paper prints it."""
    input:
        scores=lambda wildcards: of_headsets(wildcards.setting, "scores.csv"),
    output:
        csv="results/tables/s2d_{setting}.csv",
        markdown="results/tables/s2d_{setting}.md",
        html=report(
            "results/tables/s2d_{setting}.html",
            caption="../report/s2d_table.rst",
            category="Tables",
            labels={"table": "S2DHand", "setting": "{setting}"},
        ),
    log:
        "logs/s2d_table/{setting}.log",
    benchmark:
        "benchmarks/s2d_table/{setting}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        fidelity=RUN.fidelity,
        preset=RUN.preset,
        code=code_digest("handloom.evaluation.tables"),
    script:
        "../scripts/s2d_table.py"


rule cost:
    """Time and peak memory of every rule, from the benchmark files of its jobs; made after everything else."""
    input:
        tables=[*collect("results/tables/s2d_{setting}.csv", setting=SETTINGS), *HOLD_TABLES],
        figures=[*FIGURES, *HOLD_FIGURES, *FOOTAGE_FILES],
    output:
        table=report(
            "results/tables/cost.csv",
            caption="../report/cost.rst",
            category="Tables",
            labels={"table": "cost", "setting": "all"},
        ),
    log:
        "logs/cost.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("handloom.evaluation.cost"),
    script:
        "../scripts/cost.py"
