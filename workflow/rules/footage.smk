"""S2DHand on the user's own camera pairs: frames, hands, pairs of frames, adaptation, fused poses."""


use rule stage as footage_frames with:
    """The frames of one view, in order, and when they were taken."""
    input:
        source=view_source,
    output:
        frames=directory(f"{OF_VIEW}/frames"),
        frames_json=f"{OF_VIEW}/frames.json",
    pathvars:
        job="footage_frames/{rig}/{view}",
    params:
        **stage("datasets.video:extract_frames", settings=view_frames, watched=view_state),


use rule stage as footage_hands with:
    """The hand of every frame of one view, and a picture to check where it was found."""
    input:
        on_device(f"{OF_VIEW}/hands.npz"),
        frames=f"{OF_VIEW}/frames",
        frames_json=f"{OF_VIEW}/frames.json",
        weights=view_weights,
        detector=footage_detector,
        boxes=view_boxes,
        given=view_hands,
        calibration=view_calibration,
        hand=view_mano,
    output:
        hands=f"{OF_VIEW}/hands.npz",
        picture=shown(
            f"{OF_VIEW}/hands.jpg", "footage_hands", "Own camera pairs", {"picture": "hands, {view}", "pair": "{rig}"}
        ),
    pathvars:
        job="footage_hands/{rig}/{view}",
    resources:
        **needs(mem_mb=3000, runtime=120, gpu=1),
    params:
        **steps(
            stage(
                view_hands_stage,
                network=view_network,
                search=FOOTAGE.search,
                side=lambda wildcards: rig_of(wildcards).side,
                field_of_view_deg=lambda wildcards: rig_of(wildcards).view_angle(wildcards.view),
                where=lambda wildcards: f"footage.pairs.{wildcards.rig}.{wildcards.view}",
                device=RUN.device,
                watched=contents_of(view_boxes, view_calibration, view_hands, view_weights),
            ),
            stage("figures.footage_checks:draw_hands"),
        ),


use rule stage as footage_pairs with:
    """Which frames of both views show the same moment, a picture of it, the cameras' first rotation, and the crops."""
    input:
        **{f"{name}_{view}": f"{OF_RIG}/{view}/{file}" for view in VIEWS for name, file in TO_CROP.items()},
        hands=of_views("hands.npz"),
        frames=of_views("frames"),
        frames_json=of_views("frames.json"),
        weights=footage_weights,
    output:
        **{f"crops_{view}": f"{OF_RIG}/{view}/crops.npz" for view in VIEWS},
        pairs=f"{OF_RIG}/pairs.npz",
        pairing=f"{OF_RIG}/pairing.json",
        picture=shown(
            f"{OF_RIG}/pairing.png", "footage_pairing", "Own camera pairs", {"picture": "pairing", "pair": "{rig}"}
        ),
        rotations=f"{OF_RIG}/first_rotation.json",
    pathvars:
        job="footage_pairs/{rig}",
    resources:
        **needs(),
    params:
        **steps(
            stage(
                "adaptation.pairing:pair_views",
                settings=FOOTAGE.pairing,
                offset_s=lambda wildcards: rig_of(wildcards).offset_s,
            ),
            stage("figures.footage_checks:draw_pairing"),
            stage(
                "adaptation.camera_rotation:own_pair_rotations",
                adaptation=part(FOOTAGE.adaptation, "pairs", "spread_pairs"),
                cameras=known_cameras,
            ),
            *(
                stage(
                    f"estimators.{FOOTAGE.backend}.hands:crop_pairs",
                    files={name: f"{name}_{view}" for name in (*TO_CROP, "crops")},
                    view=view,
                    watched=contents_of(footage_weights),
                )
                for view in VIEWS
            ),
        ),


use rule stage as footage_adapt with:
    """S2DHand on a camera pair; a killed adaptation goes on from its last checkpoint."""
    input:
        on_device(f"{OF_RIG}/network.safetensors"),
        crops=of_views("crops.npz"),
        source=footage_weights,
        rotations=f"{OF_RIG}/first_rotation.json",
    output:
        networks=[f"{OF_RIG}/network.safetensors"],
        predictions=[f"{OF_RIG}/predictions.npz"],
        histories=[f"{OF_RIG}/history.csv"],
    pathvars:
        job="footage_adapt/{rig}",
    threads: 2
    resources:
        **needs(mem_mb=6000, runtime=240, gpu=1),
        checkpoint_seconds=RUN.checkpoint_seconds,
    params:
        **stage(
            NETWORKS[FOOTAGE.backend].s2dhand,
            pair=OWN_PAIR,
            variant="s2dhand",
            seeds=[FOOTAGE.seed],
            adaptation=FOOTAGE.adaptation,
            fidelity="fixed",
            ray_share=FOOTAGE.ray_share,
            turned_poses=True,
            start=FOOTAGE.adaptation.rotation,
            device=RUN.device,
            watched=contents_of(footage_weights),
        ),


use rule stage as footage_poses with:
    """Both views' poses in one and the cameras' rotation; a video and a moving skeleton of them; what to trust of it."""
    input:
        hands=of_views("hands.npz"),
        frames=of_views("frames"),
        frames_json=of_views("frames.json"),
        pairs=f"{OF_RIG}/pairs.npz",
        pairing=f"{OF_RIG}/pairing.json",
        predictions=f"{OF_RIG}/predictions.npz",
        start=f"{OF_RIG}/first_rotation.json",
    output:
        poses=f"{OF_RIG}/poses.npz",
        text=f"{OF_RIG}/poses.json",
        rotation=f"{OF_RIG}/rotation.json",
        video=f"{OF_RIG}/overlay.mp4",
        skeleton=f"{OF_RIG}/skeleton.glb",
        table=shown(
            f"{OF_RIG}/quality.csv", "footage_quality", "Own camera pairs", {"picture": "quality", "pair": "{rig}"}
        ),
    pathvars:
        job="footage_poses/{rig}",
    params:
        **steps(
            stage(
                "adaptation.fused_poses:fuse_poses",
                adaptation=part(FOOTAGE.adaptation, "rotation", "attention_sharpness"),
            ),
            stage("figures.footage_video:write_footage_video"),
            stage("evaluation.footage_quality:write_footage_quality"),
        ),


localrules:
    footage,


rule footage:
    """Everything of every camera pair in footage.pairs."""
    input:
        footage_files,
