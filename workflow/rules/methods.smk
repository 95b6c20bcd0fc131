"""The adaptation methods that S2DHand is compared with, cross-dataset; no part of the default target."""


rule adapt_method:
    """One method on one camera pair with one seed; a killed adaptation goes on from its last checkpoint."""
    input:
        views=pair_views,
        source="results/s2d/source/cross/detnet.safetensors",
        rotations="results/s2d/cross/{headset}/rotations.json",
        samples=source_samples,
    output:
        network="results/s2d/cross/{headset}/{pair}/methods/{method}/{budget}/seed{seed}.safetensors",
        predictions="results/s2d/cross/{headset}/{pair}/methods/{method}/{budget}/seed{seed}.predictions.npz",
        history="results/s2d/cross/{headset}/{pair}/methods/{method}/{budget}/seed{seed}.history.csv",
    log:
        "logs/adapt_method/cross/{headset}/{pair}/methods/{method}/{budget}/seed{seed}.log",
    benchmark:
        "benchmarks/adapt_method/cross/{headset}/{pair}/methods/{method}/{budget}/seed{seed}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=3000,
        runtime=720,
        gpu=GPUS,
    params:
        methods=method_settings,
        adaptation=method_adaptation,
        detnet=plain(RUN.detnet),
        fidelity=RUN.fidelity,
        root_joint=SOURCES["cross"].root_joint,
        ray_share=SOURCES["cross"].ray_share,
        device=RUN.device,
        method_code=method_code,
        code=code_digest("handloom.adaptation.methods.adapt_method"),
    script:
        "../scripts/adapt_method.py"


rule score_methods:
    """Mono-M and Dual-M of the source network, of every method and of S2DHand on a headset."""
    input:
        views=headset_views,
        source_predictions="results/s2d/cross/{headset}/source_predictions.npz",
        rotations="results/s2d/cross/{headset}/rotations.json",
        predictions=adapted_predictions,
    output:
        scores="results/s2d/cross/{headset}/method_scores.csv",
    log:
        "logs/score_methods/{headset}.log",
    benchmark:
        "benchmarks/score_methods/{headset}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        benchmarks=adapted_benchmarks,
        pairs=list(METHODS.pairs),
        epochs={"standard": RUN.adaptation.epochs, "long": METHODS.long_epochs},
        adaptation_pairs=RUN.adaptation.pairs,
        batch_size=RUN.adaptation.batch_size,
        root_joint=SOURCES["cross"].root_joint,
        code=code_digest("handloom.evaluation.method_scores"),
    script:
        "../scripts/score_methods.py"


rule methods_table:
    """The table of adaptation methods, as numbers and as the paper prints it."""
    input:
        scores=lambda wildcards: of_headsets("cross", "method_scores.csv"),
    output:
        csv="results/tables/s2d_methods.csv",
        markdown="results/tables/s2d_methods.md",
        html=report(
            "results/tables/s2d_methods.html",
            caption="../report/s2d_methods.rst",
            category="Tables",
            labels={"table": "adaptation methods", "setting": "cross"},
        ),
    log:
        "logs/methods_table.log",
    benchmark:
        "benchmarks/methods_table.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        methods=plain(METHODS),
        fidelity=RUN.fidelity,
        preset=RUN.preset,
        code=code_digest("handloom.evaluation.methods_table"),
    script:
        "../scripts/methods_table.py"
