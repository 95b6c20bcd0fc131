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
    """The hand of every frame of one view."""
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
    pathvars:
        job="footage_hands/{rig}/{view}",
    resources:
        **needs(mem_mb=3000, runtime=120, gpu=1),
    params:
        **stage(
            view_hands_stage,
            network=view_network,
            search=FOOTAGE.search,
            side=lambda wildcards: rig_of(wildcards).side,
            field_of_view_deg=lambda wildcards: rig_of(wildcards).view_angle(wildcards.view),
            where=lambda wildcards: f"footage.pairs.{wildcards.rig}.{wildcards.view}",
            device=RUN.device,
            watched=contents_of(view_boxes, view_calibration, view_hands, view_weights),
        ),


use rule stage as footage_hands_sheet with:
    """A picture to check where the hand was found."""
    input:
        frames=f"{OF_VIEW}/frames",
        frames_json=f"{OF_VIEW}/frames.json",
        hands=f"{OF_VIEW}/hands.npz",
    output:
        picture=shown(
            f"{OF_VIEW}/hands.jpg", "footage_hands", "Own camera pairs", {"picture": "hands, {view}", "pair": "{rig}"}
        ),
    pathvars:
        job="footage_hands_sheet/{rig}/{view}",
    resources:
        **needs(runtime=20),
    params:
        **stage("figures.footage_checks:draw_hands"),


use rule stage as footage_pairs with:
    """Which frames of the two views show the same moment."""
    input:
        hands=of_views("hands.npz"),
        frames=of_views("frames"),
        frames_json=of_views("frames.json"),
    output:
        pairs=f"{OF_RIG}/pairs.npz",
        pairing=f"{OF_RIG}/pairing.json",
    pathvars:
        job="footage_pairs/{rig}",
    resources:
        **needs(mem_mb=1000, runtime=20),
    params:
        **stage(
            "adaptation.pairing:pair_views",
            settings=FOOTAGE.pairing,
            offset_s=lambda wildcards: rig_of(wildcards).offset_s,
        ),


use rule stage as footage_pairing_sheet with:
    """A picture to check how the frames of both views were paired."""
    input:
        hands=of_views("hands.npz"),
        pairs=f"{OF_RIG}/pairs.npz",
        pairing=f"{OF_RIG}/pairing.json",
    output:
        picture=shown(
            f"{OF_RIG}/pairing.png", "footage_pairing", "Own camera pairs", {"picture": "pairing", "pair": "{rig}"}
        ),
    pathvars:
        job="footage_pairing_sheet/{rig}",
    resources:
        **needs(mem_mb=1000, runtime=20),
    params:
        **stage("figures.footage_checks:draw_pairing"),


use rule stage as footage_crops with:
    """The hands of one view as the network is taught with them, cut out once."""
    input:
        frames=f"{OF_VIEW}/frames",
        frames_json=f"{OF_VIEW}/frames.json",
        hands=f"{OF_VIEW}/hands.npz",
        pairs=f"{OF_RIG}/pairs.npz",
        weights=footage_weights,
    output:
        crops=f"{OF_VIEW}/crops.npz",
    pathvars:
        job="footage_crops/{rig}/{view}",
    params:
        **stage(f"estimators.{FOOTAGE.backend}.hands:crop_pairs", watched=contents_of(footage_weights)),


use rule stage as footage_rotation with:
    """The first rotation between the cameras, from both views' hands."""
    input:
        hands=of_views("hands.npz"),
        pairs=f"{OF_RIG}/pairs.npz",
    output:
        rotations=f"{OF_RIG}/first_rotation.json",
    pathvars:
        job="footage_rotation/{rig}",
    resources:
        **needs(runtime=20),
    params:
        **stage(
            "adaptation.camera_rotation:own_pair_rotations",
            adaptation=part(FOOTAGE.adaptation, "pairs", "spread_pairs"),
            cameras=known_cameras,
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
    """The poses of both views in one, for every pair of frames, and the cameras' rotation."""
    input:
        hands=of_views("hands.npz"),
        frames=of_views("frames"),
        frames_json=of_views("frames.json"),
        pairs=f"{OF_RIG}/pairs.npz",
        predictions=f"{OF_RIG}/predictions.npz",
        start=f"{OF_RIG}/first_rotation.json",
    output:
        poses=f"{OF_RIG}/poses.npz",
        text=f"{OF_RIG}/poses.json",
        rotation=f"{OF_RIG}/rotation.json",
    pathvars:
        job="footage_poses/{rig}",
    resources:
        **needs(runtime=20),
    params:
        **stage(
            "adaptation.fused_poses:fuse_poses",
            adaptation=part(FOOTAGE.adaptation, "rotation", "attention_sharpness"),
        ),


use rule stage as footage_video with:
    """Both views with the fused pose laid over, as a video, and the fused pose as a moving skeleton."""
    input:
        poses=f"{OF_RIG}/poses.npz",
        frames=of_views("frames"),
        frames_json=of_views("frames.json"),
        hands=of_views("hands.npz"),
    output:
        video=f"{OF_RIG}/overlay.mp4",
        skeleton=f"{OF_RIG}/skeleton.glb",
    pathvars:
        job="footage_video/{rig}",
    params:
        **stage("figures.footage_video:write_footage_video"),


use rule stage as footage_quality with:
    """What to trust of a camera pair, and what to film better."""
    input:
        hands=expand(f"{OF_RIG}/{{view}}/hands.npz", view=VIEWS, allow_missing=True),
        pairing=f"{OF_RIG}/pairing.json",
        rotation=f"{OF_RIG}/rotation.json",
        poses=f"{OF_RIG}/poses.npz",
    output:
        table=shown(
            f"{OF_RIG}/quality.csv", "footage_quality", "Own camera pairs", {"picture": "quality", "pair": "{rig}"}
        ),
    pathvars:
        job="footage_quality/{rig}",
    resources:
        **needs(mem_mb=1000, runtime=10),
    params:
        **stage("evaluation.footage_quality:write_footage_quality"),


localrules:
    footage,


rule footage:
    """Everything of every camera pair in footage.pairs."""
    input:
        footage_files,
