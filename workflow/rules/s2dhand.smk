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
        **stage("datasets.invalid_list:list_invalid", dataset=DATASETS.assembly_hands),


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
            device=RUN.device,
        ),


use rule stage as start_rotations with:
    """R(0) of all camera pairs of a headset: as published, with viewing rays, and synchronised over the camera graph."""
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


use rule stage as adapt with:
    """S2DHand on one camera pair with one seed; a killed adaptation goes on from its last checkpoint."""
    input:
        on_device("results/s2d/{setting}/{headset}/{pair}/{variant}/seed{seed}.safetensors"),
        crops=pair_crops,
        labels=pair_labels,
        source=source_network,
        rotations="results/s2d/{setting}/{headset}/rotations.json",
    output:
        network="results/s2d/{setting}/{headset}/{pair}/{variant}/seed{seed}.safetensors",
        predictions="results/s2d/{setting}/{headset}/{pair}/{variant}/seed{seed}.predictions.npz",
        history="results/s2d/{setting}/{headset}/{pair}/{variant}/seed{seed}.history.csv",
    pathvars:
        job="adapt/{setting}/{headset}/{pair}/{variant}/seed{seed}",
    resources:
        **needs(runtime=120, gpu=1, with_gpu={"mem_mb": 24000, "runtime": 1440}),
        checkpoint_seconds=RUN.checkpoint_seconds,
    params:
        **stage(
            lambda wildcards: network_of(wildcards).s2dhand,
            adaptation=RUN.adaptation,
            fidelity=RUN.fidelity,
            ray_share=source_setting("ray_share"),
            turned_poses=source_setting("turned_poses"),
            start=lambda wildcards: VARIANTS[wildcards.variant],
            device=RUN.device,
        ),
