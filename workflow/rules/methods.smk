"""The adaptation methods that S2DHand is compared with, cross-dataset; no part of the default target."""


use rule stage as adapt_method with:
    """One method on one camera pair with one seed; a killed adaptation goes on from its last checkpoint."""
    input:
        on_device(f"{METHOD_PLACE}.safetensors"),
        crops=lambda wildcards: crops_of("cross", wildcards.headset, wildcards.pair.split("-")),
        labels=lambda wildcards: crops_of("cross", wildcards.headset, wildcards.pair.split("-"), "labels.npz"),
        source="results/s2d/source/cross/detnet.safetensors",
        rotations="results/s2d/cross/{headset}/rotations.json",
        samples=source_samples,
    output:
        networks=[f"{METHOD_PLACE}.safetensors"],
        predictions=[f"{METHOD_PLACE}.predictions.npz"],
        histories=[f"{METHOD_PLACE}.history.csv"],
        records=[f"{METHOD_PLACE}.record.json"],
    pathvars:
        job="adapt_method/cross/{headset}/{pair}/methods/{method}/{budget}/seed{seed}",
    resources:
        **needs(mem_mb=3000, runtime=720, gpu=1, with_gpu={"mem_mb": 24000, "runtime": 1440}),
        checkpoint_seconds=RUN.checkpoint_seconds,
    params:
        **stage(
            lambda wildcards: f"adaptation.methods.{METHODS_OF[wildcards.method].stage}",
            variant=lambda wildcards: f"{wildcards.method}/{wildcards.budget}",
            seeds=lambda wildcards: [int(wildcards.seed)],
            adaptation=method_adaptation,
            options=lambda wildcards: plain(METHODS.of(wildcards.method)),
            fidelity=RUN.fidelity,
            ray_share=SOURCES["cross"].ray_share,
            turned_poses=SOURCES["cross"].turned_poses,
            device=RUN.device,
        ),


use rule stage as score_methods with:
    """Mono-M and Dual-M of the source network, of every method and of S2DHand on a headset."""
    input:
        labels=lambda wildcards: crops_of("cross", wildcards.headset, CAMERAS, "labels.npz"),
        source_predictions="results/s2d/cross/{headset}/source_predictions.npz",
        rotations="results/s2d/cross/{headset}/rotations.json",
        predictions=compared(ADAPTED_FILES["predictions"]),
        records=compared(ADAPTED_FILES["records"]),
    output:
        scores="results/s2d/cross/{headset}/method_scores.csv",
    pathvars:
        job="score_methods/{headset}",
    resources:
        **needs(runtime=30),
    params:
        **stage(
            "evaluation.headset_scores:score_methods",
            pairs=list(METHODS.pairs),
            epochs={"standard": RUN.adaptation.epochs, "long": METHODS.long_epochs}
            | ({"s2dhand_plus": PLUS["cross"].epochs} if "cross" in PLUS else {}),
            adaptation_pairs=RUN.adaptation.pairs,
            batch_size=RUN.adaptation.batch_size,
        ),


use rule stage as methods_table with:
    """The table of adaptation methods, as numbers and as the paper prints it."""
    input:
        scores=lambda wildcards: of_headsets("cross", "method_scores.csv"),
    output:
        csv="results/tables/s2d_methods.csv",
        markdown="results/tables/s2d_methods.md",
        html=shown(
            "results/tables/s2d_methods.html",
            "s2d_methods",
            "Tables",
            {"table": "adaptation methods", "setting": "cross"},
        ),
    pathvars:
        job="methods_table",
    resources:
        **needs(mem_mb=1000, runtime=10),
    params:
        **stage(
            "evaluation.methods_table:write_methods_table",
            methods=METHODS,
            fidelity=RUN.fidelity,
            preset=RUN.preset,
        ),
