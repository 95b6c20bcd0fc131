"""What the rules of the adaptation methods share."""

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


def method_code(wildcards):
    """The code of one method's own module, so that another method's runs nothing again."""
    return code_digest(method_module(wildcards.method))


def adapted_predictions(wildcards):
    """The predictions of every adaptation in the table."""
    return [f"results/s2d/{place}.predictions.npz" for _, place in adapted_of_headset(wildcards)]


def adapted_benchmarks(wildcards):
    """Where the cost of every adaptation in the table is told."""
    return [f"benchmarks/{rule}/{place}.tsv" for rule, place in adapted_of_headset(wildcards)]
