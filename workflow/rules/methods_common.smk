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


def compared(suffix):
    """An input function: one file of every adaptation in the table of a headset, the methods' and S2DHand's own."""
    variants = [f"methods/{method}/{budget}" for method, budget in METHOD_BUDGETS]
    variants += ["s2dhand", *(["s2dhand_plus"] if "cross" in PLUS else [])]
    return lambda wildcards: [
        f"results/s2d/cross/{wildcards.headset}/{pair}/{variant}/seed{seed}.{suffix}"
        for pair in METHODS.pairs
        for seed in RUN.seeds
        for variant in variants
    ]
