"""S2DHand: crops, first rotations, adaptation."""


use rule stage as list_invalid with:
    """The hands of a split that are too hidden to use: one list over all cameras."""
    input:
        annotations=split_annotations,
    output:
        invalid="results/s2d/views/{split}/invalid.txt",
    pathvars:
        job="list_invalid/{split}",
    resources:
        **needs(mem_mb=4000, runtime=30),
    params:
        **stage(
            "datasets.invalid_list:list_invalid",
            dataset=DATASETS.assembly_hands,
            watched=contents_of(split_annotations),
        ),


use rule stage as crop_views with:
    """All hand crops of one camera of a headset, as a network sees them, and their labels apart."""
    input:
        split_annotations,
        lambda wildcards: images_of(wildcards.split, wildcards.headset),
        invalid="results/s2d/views/{split}/invalid.txt",
        weights=cropping_weights,
    output:
        crops="results/s2d/views/{split}/{headset}/camera{camera}.{network}.npz",
        labels="results/s2d/views/{split}/{headset}/camera{camera}.{network}.labels.npz",
    pathvars:
        job="crop_views/{split}/{headset}/camera{camera}.{network}",
    resources:
        **needs(mem_mb=4000, runtime=120),
    params:
        **stage(
            lambda wildcards: f"estimators.{wildcards.network}.hands:crop_views",
            dataset=DATASETS.assembly_hands,
            input_px=RUN.detnet.input_px,
            field_of_view_deg=RUN.adaptation.field_of_view_deg,
            watched=contents_of(split_annotations),
        ),


use rule stage as predict_source with:
    """The source network's pose for every crop of a headset: the baseline, and what the first rotations come from."""
    input:
        on_device("results/s2d/{setting}/{headset}/source_predictions.npz"),
        crops=headset_crops,
        source=source_network,
    output:
        predictions="results/s2d/{setting}/{headset}/source_predictions.npz",
    pathvars:
        job="predict_source/{setting}/{headset}",
    resources:
        **needs(runtime=120, gpu=1, with_gpu={"mem_mb": 16000, "runtime": 240}),
    params:
        **stage(
            lambda wildcards: f"adaptation.{network_of(wildcards).learner}:predict_source",
            ray_share=source_setting("ray_share"),
            turned_poses=source_setting("turned_poses"),
            plus_share=lambda wildcards: PLUS[wildcards.setting].ray_share if wildcards.setting in PLUS else None,
            device=RUN.device,
            watched=contents_of(source_network),
        ),


use rule stage as start_rotations with:
    """R(0) of all camera pairs of a headset: as published, and with viewing rays."""
    input:
        crops=headset_crops,
        labels=headset_labels,
        predictions="results/s2d/{setting}/{headset}/source_predictions.npz",
    output:
        rotations="results/s2d/{setting}/{headset}/rotations.json",
    pathvars:
        job="start_rotations/{setting}/{headset}",
    resources:
        **needs(runtime=30),
    params:
        **stage(
            "adaptation.camera_rotation:start_rotations",
            adaptation=part(RUN.adaptation, "rotations"),
            fidelity=RUN.fidelity,
            ray_share=source_setting("ray_share"),
        ),


use rule stage as predict_draws with:
    """The source network's mean answers to turned and zoomed draws of every crop of a headset: S2DHand+'s teacher."""
    input:
        on_device("results/s2d/{setting}/{headset}/drawn_answers.npz"),
        crops=headset_crops,
        source=source_network,
    output:
        answers="results/s2d/{setting}/{headset}/drawn_answers.npz",
    pathvars:
        job="predict_draws/{setting}/{headset}",
    wildcard_constraints:
        setting="|".join(PLUS) or "none",
    resources:
        **needs(runtime=120, gpu=1, with_gpu={"mem_mb": 16000, "runtime": 240}),
    params:
        **stage(
            "adaptation.drawn_answers:predict_draws",
            ray_share=source_setting("ray_share"),
            plus_share=lambda wildcards: plus_setting(wildcards).ray_share,
            draws=lambda wildcards: plus_setting(wildcards).draws,
            draw_turn_deg=lambda wildcards: plus_setting(wildcards).draw_turn_deg,
            device=RUN.device,
            watched=contents_of(source_network),
        ),


use rule stage as adapt with:
    """S2DHand on one camera pair, with every seed; a killed adaptation goes on from its last checkpoint."""
    input:
        on_device(of_seeds("results/s2d/{setting}/{headset}/{pair}/s2dhand/seed{seed}.safetensors")[0]),
        crops=pair_crops,
        labels=pair_labels,
        source=source_network,
        rotations="results/s2d/{setting}/{headset}/rotations.json",
    output:
        networks=of_seeds("results/s2d/{setting}/{headset}/{pair}/s2dhand/seed{seed}.safetensors"),
        predictions=of_seeds("results/s2d/{setting}/{headset}/{pair}/s2dhand/seed{seed}.predictions.npz"),
        histories=of_seeds("results/s2d/{setting}/{headset}/{pair}/s2dhand/seed{seed}.history.csv"),
    pathvars:
        job="adapt/{setting}/{headset}/{pair}",
    resources:
        **needs(runtime=120, gpu=1, with_gpu={"mem_mb": 24000, "runtime": 1440}),
        checkpoint_seconds=RUN.checkpoint_seconds,
    params:
        **stage(
            lambda wildcards: network_of(wildcards).s2dhand,
            variant="s2dhand",
            seeds=list(RUN.seeds),
            adaptation=RUN.adaptation,
            fidelity=RUN.fidelity,
            ray_share=source_setting("ray_share"),
            turned_poses=source_setting("turned_poses"),
            device=RUN.device,
            watched=contents_of(source_network),
        ),


use rule adapt as adapt_plus with:
    """S2DHand+ on one camera pair, with every seed."""
    input:
        on_device(of_seeds("results/s2d/{setting}/{headset}/{pair}/s2dhand_plus/seed{seed}.safetensors")[0]),
        crops=pair_crops,
        labels=pair_labels,
        source=source_network,
        rotations="results/s2d/{setting}/{headset}/rotations.json",
        answers="results/s2d/{setting}/{headset}/drawn_answers.npz",
    output:
        networks=of_seeds("results/s2d/{setting}/{headset}/{pair}/s2dhand_plus/seed{seed}.safetensors"),
        predictions=of_seeds("results/s2d/{setting}/{headset}/{pair}/s2dhand_plus/seed{seed}.predictions.npz"),
        histories=of_seeds("results/s2d/{setting}/{headset}/{pair}/s2dhand_plus/seed{seed}.history.csv"),
    pathvars:
        job="adapt_plus/{setting}/{headset}/{pair}",
    wildcard_constraints:
        setting="|".join(PLUS) or "none",
    params:
        **stage(
            "adaptation.methods.detnet_s2dhand_plus:adapt",
            variant="s2dhand_plus",
            seeds=list(RUN.seeds),
            adaptation=lambda wildcards: part(RUN.adaptation, "pairs", "batch_size", "precision", "diagnostic_pairs")
            | plus_setting(wildcards).adaptation,
            options=lambda wildcards: plain(plus_setting(wildcards)),
            fidelity=RUN.fidelity,
            ray_share=lambda wildcards: plus_setting(wildcards).ray_share,
            turned_poses=True,
            device=RUN.device,
            watched=contents_of(source_network),
        ),
