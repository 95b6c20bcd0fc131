"""The adaptation methods that S2DHand is compared with, cross-dataset; no part of the default target."""

from handloom.adaptation.methods.names import WITH_SOURCE, method_module, method_part

METHODS = RUN.methods
METHOD_BUDGETS = [
    *((name, "standard") for name in METHODS.names),
    *((name, "long") for name in METHODS.long_names),
]


wildcard_constraints:
    method="|".join(METHODS.names) or "none",
    budget="standard|long",


def source_samples(wildcards):
    """The labelled crops of the source, for the methods that keep them."""
    datasets = SOURCES["cross"].datasets if wildcards.method in WITH_SOURCE else []
    return [f"results/s2d/training/{dataset}.npz" for dataset in datasets]


def method_settings(wildcards):
    """The settings that one adaptation depends on: another method's, or another budget's, do not run it again."""
    source = ["source_grey_probability"] if wildcards.method in WITH_SOURCE else []
    length = ["long_epochs"] if wildcards.budget == "long" else []
    return part(METHODS, method_part(wildcards.method), *source, *length)


def method_adaptation(wildcards):
    """What the methods share with S2DHand: pairs, their order and precision, and its epochs for the standard budget."""
    length = ["epochs"] if wildcards.budget == "standard" else []
    shared = ["pairs", "batch_size", "precision", "rotation_pairs", "field_of_view_deg", "confidence_threshold"]
    return part(RUN.adaptation, *shared, *length, "diagnostic_pairs", "checkpoint_seconds")


def adapted_of_headset(wildcards):
    """Rule and place of every adaptation in the table: the methods', then S2DHand's own."""
    for pair in METHODS.pairs:
        place = f"cross/{wildcards.headset}/{pair}"
        for seed in RUN.seeds:
            for method, budget in METHOD_BUDGETS:
                yield "adapt_method", f"{place}/methods/{method}/{budget}/seed{seed}"
            yield "adapt", f"{place}/s2dhand/seed{seed}"


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
        code=lambda wildcards: code_digest("handloom.adaptation.methods.adapt_method", method_module(wildcards.method)),
    script:
        "../scripts/adapt_method.py"


rule score_methods:
    """Mono-M and Dual-M of the source network, of every method and of S2DHand on a headset."""
    input:
        views=headset_views,
        source_predictions="results/s2d/cross/{headset}/source_predictions.npz",
        rotations="results/s2d/cross/{headset}/rotations.json",
        predictions=lambda wildcards: [
            f"results/s2d/{place}.predictions.npz" for _, place in adapted_of_headset(wildcards)
        ],
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
        benchmarks=lambda wildcards: [f"benchmarks/{rule}/{place}.tsv" for rule, place in adapted_of_headset(wildcards)],
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
