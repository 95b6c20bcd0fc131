"""S2DHand: crops, first rotations, adaptation."""

INVALID = stage(
    "datasets.invalid_list:list_invalid",
    dataset=DATASETS.assembly_hands,
    watched=contents_of(split_annotations),
)


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
        **steps(INVALID),


use rule stage as crop_views with:
    """All hand crops of a headset's cameras, as a network sees them, their labels apart, and which hands are left out."""
    input:
        images_of("{split}"),
        annotations=split_annotations,
        weights=cropping_weights,
    output:
        **{
            f"{kind}{camera}": f"results/s2d/views/{{split}}/{{headset}}/camera{camera}.{{network}}.{suffix}"
            for camera in CAMERAS
            for kind, suffix in (("crops", "npz"), ("labels", "labels.npz"))
        },
        invalid="results/s2d/views/{split}/{headset}/invalid.{network}.txt",
    pathvars:
        job="crop_views/{split}/{headset}.{network}",
    resources:
        **needs(mem_mb=4000, runtime=480),
    params:
        **steps(
            INVALID,
            *(
                stage(
                    lambda wildcards: f"estimators.{wildcards.network}.hands:crop_views",
                    files={"crops": f"crops{camera}", "labels": f"labels{camera}"},
                    camera=camera,
                    dataset=DATASETS.assembly_hands,
                    input_px=RUN.detnet.input_px,
                    field_of_view_deg=RUN.adaptation.field_of_view_deg,
                    watched=contents_of(split_annotations),
                )
                for camera in CAMERAS
            ),
        ),


SOURCE_STEPS = [
    stage(
        lambda wildcards: f"adaptation.{network_of(wildcards).learner}:predict_source",
        ray_share=source_setting("ray_share"),
        turned_poses=source_setting("turned_poses"),
        plus_share=lambda wildcards: PLUS[wildcards.setting].ray_share if wildcards.setting in PLUS else None,
        device=RUN.device,
        watched=contents_of(source_network),
    ),
    stage(
        "adaptation.camera_rotation:start_rotations",
        adaptation=part(RUN.adaptation, "rotations"),
        fidelity=RUN.fidelity,
        ray_share=source_setting("ray_share"),
    ),
]
DRAWS = "results/s2d/{setting}/{headset}/drawn_answers.npz"
DRAW_STEP = stage(
    "adaptation.drawn_answers:predict_draws",
    ray_share=source_setting("ray_share"),
    plus_share=plus_setting("ray_share"),
    draws=plus_setting("draws"),
    draw_turn_deg=plus_setting("draw_turn_deg"),
    device=RUN.device,
    watched=contents_of(source_network),
)


use rule stage as predict_source with:
    """The source network's pose for every crop of a headset, and R(0) of its pairs; for S2DHand+ its answers to draws."""
    input:
        on_device("results/s2d/{setting}/{headset}/source_predictions.npz"),
        crops=headset_crops,
        labels=headset_labels,
        source=source_network,
    output:
        **({"answers": DRAWS} if PLUS else {}),
        predictions="results/s2d/{setting}/{headset}/source_predictions.npz",
        rotations="results/s2d/{setting}/{headset}/rotations.json",
    pathvars:
        job="predict_source/{setting}/{headset}",
    wildcard_constraints:
        setting="|".join(PLUS or SETTINGS),
    resources:
        **needs(runtime=120, gpu=1, with_gpu={"mem_mb": 16000, "runtime": 240}),
    params:
        **steps(*SOURCE_STEPS, *([DRAW_STEP] if PLUS else [])),


use rule predict_source as predict_source_alone with:
    """The same of a setting without S2DHand+ where the other has it."""
    output:
        predictions="results/s2d/{setting}/{headset}/source_predictions.npz",
        rotations="results/s2d/{setting}/{headset}/rotations.json",
    wildcard_constraints:
        setting=WITHOUT_PLUS,
    params:
        **steps(*SOURCE_STEPS),


S2DHAND = stage(
    lambda wildcards: network_of(wildcards).s2dhand,
    variant="s2dhand",
    seeds=list(RUN.seeds),
    adaptation=RUN.adaptation,
    fidelity=RUN.fidelity,
    ray_share=source_setting("ray_share"),
    turned_poses=source_setting("turned_poses"),
    device=RUN.device,
    watched=contents_of(source_network),
)
S2DHAND_PLUS = stage(
    "adaptation.methods.detnet_s2dhand_plus:adapt",
    files={"answers": "draws", **{kind: f"plus_{kind}" for kind in ADAPTED_FILES}},
    variant="s2dhand_plus",
    seeds=list(RUN.seeds),
    adaptation=lambda wildcards: part(RUN.adaptation, "pairs", "batch_size", "precision", "diagnostic_pairs")
    | PLUS[wildcards.setting].adaptation,
    options=lambda wildcards: plain(PLUS[wildcards.setting]),
    fidelity=RUN.fidelity,
    ray_share=plus_setting("ray_share"),
    turned_poses=True,
    device=RUN.device,
    watched=contents_of(source_network),
)
OF_PAIR = {
    "crops": pair_crops,
    "labels": pair_labels,
    "source": source_network,
    "rotations": "results/s2d/{setting}/{headset}/rotations.json",
}


use rule stage as adapt with:
    """S2DHand and S2DHand+ on one camera pair, with every seed; what is finished is kept, what was killed goes on."""
    input:
        on_device(of_seeds("s2dhand", "networks")[0]),
        **OF_PAIR,
        draws=DRAWS if PLUS else [],
    output:
        **adapted_files("s2dhand"),
        **(adapted_files("s2dhand_plus", "plus_") if PLUS else {}),
    pathvars:
        job="adapt/{setting}/{headset}/{pair}",
    wildcard_constraints:
        setting="|".join(PLUS or SETTINGS),
    resources:
        **needs(runtime=120, gpu=1, with_gpu={"mem_mb": 24000, "runtime": 1440}),
        checkpoint_seconds=RUN.checkpoint_seconds,
    params:
        **steps(S2DHAND, *([S2DHAND_PLUS] if PLUS else [])),


use rule adapt as adapt_alone with:
    """The same of a setting without S2DHand+ where the other has it."""
    input:
        on_device(of_seeds("s2dhand", "networks")[0]),
        **OF_PAIR,
    output:
        **adapted_files("s2dhand"),
    wildcard_constraints:
        setting=WITHOUT_PLUS,
    params:
        **steps(S2DHAND),
