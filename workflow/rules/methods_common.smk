"""What the rules of the adaptation methods share."""

from handloom.runtime.config.methods import METHODS as METHODS_OF

METHODS = RUN.methods
METHOD_PLACE = "results/s2d/cross/{headset}/{pair}/methods/{method}/{budget}/seed{seed}"
METHOD_BUDGETS = [
    *((name, "standard") for name in METHODS.names),
    *((name, "long") for name in METHODS.long_names),
]


wildcard_constraints:
    method="|".join(METHODS.names) or "none",
    budget="standard|long",


def source_samples(wildcards):
    """The labelled crops of the source, for the methods that keep them."""
    datasets = SOURCES["cross"].datasets if METHODS_OF[wildcards.method].source != "none" else []
    return [f"results/s2d/training/{dataset}.npz" for dataset in datasets]


def method_adaptation(wildcards):
    """What the methods share with S2DHand: pairs, their order and precision, and, with the standard budget, epochs."""
    shared = ["pairs", "batch_size", "precision", "diagnostic_pairs"]
    epochs = RUN.adaptation.epochs if wildcards.budget == "standard" else METHODS.long_epochs
    return part(RUN.adaptation, *shared) | {"epochs": epochs}


def benchmarks_of_adapted(wildcards):
    """The predictions of every adaptation in the table, the methods' and S2DHand's own, and where its cost is told."""
    found = {}
    for pair in METHODS.pairs:
        of_pair = f"cross/{wildcards.headset}/{pair}"
        for seed in RUN.seeds:
            for method, budget in METHOD_BUDGETS:
                place = f"{of_pair}/methods/{method}/{budget}/seed{seed}"
                found[f"results/s2d/{place}.predictions.npz"] = f"benchmarks/adapt_method/{place}.tsv"
            found[f"results/s2d/{of_pair}/s2dhand/seed{seed}.predictions.npz"] = f"benchmarks/adapt/{of_pair}.tsv"
            if "cross" in PLUS:
                of_plus = f"results/s2d/{of_pair}/s2dhand_plus/seed{seed}.predictions.npz"
                found[of_plus] = f"benchmarks/adapt_plus/{of_pair}.tsv"
    return {placed(adapted, PLACE): placed(benchmark, PLACE) for adapted, benchmark in found.items()}
