"""HOLD: a sequence's frames, masks and first estimates, and phase 2; phases 1 and 3 are the field's."""

if RENDERED:

    use rule stage as render_hold_sequence with:
        """A hand that turns an unknown object before a camera, in HO3D-v3's layout."""
        output:
            frames=directory(f"{HOLD_DEMO_ROOT}/train/{{sequence}}"),
        pathvars:
            job="render_hold_sequence/{sequence}",
        threads: 8
        resources:
            **needs(mem_mb=3000),
        params:
            **stage(
                "demo.hold_sequences:render_hold_sequence",
                demo=part(HOLD.demo, "seed", "frames", "width_px", "height_px"),
                hands=hands_of,
            ),

    use rule stage as render_held_object with:
        """The textured model of what is held in a rendered sequence."""
        output:
            model=directory(f"{HOLD_DEMO_ROOT}/models/{{object}}"),
        pathvars:
            job="render_held_object/{object}",
        params:
            **stage("demo.held_objects:render_held_object", demo=part(HOLD.demo, "seed")),


use rule stage as extract_frames with:
    """The frames of a sequence, in order, and when they were taken."""
    input:
        source=sequence_source,
    output:
        frames=directory(f"{OF_SEQUENCE}/frames"),
        frames_json=f"{OF_SEQUENCE}/frames.json",
    pathvars:
        job="extract_frames/{sequence}",
    params:
        **stage(
            "datasets.video:extract_frames",
            settings=frame_settings,
            marked=marked_pictures,
            watched=sequence_state(PICTURES_IN),
        ),


use rule stage as sequence_masks with:
    """Which pixels show the object and which the hands."""
    input:
        masks_ready,
        frames=f"{OF_SEQUENCE}/frames",
        frames_json=f"{OF_SEQUENCE}/frames.json",
        given=mask_input,
    output:
        masks=directory(f"{OF_SEQUENCE}/masks"),
        picture=f"{OF_SEQUENCE}/masks.png",
    pathvars:
        job="sequence_masks/{sequence}",
    resources:
        **needs(mem_mb=4000, runtime=120, gpu=1),
    params:
        **stage(
            mask_stage,
            arguments=mask_arguments,
            watched=mask_state,
            within=lambda wildcards: f"hold.sequences.{wildcards.sequence}",
        ),


use rule stage as object_poses with:
    """The object's pose in every frame and points of its surface, by structure from motion or as annotated."""
    input:
        rendered_model_of_poses,
        frames=f"{OF_SEQUENCE}/frames",
        frames_json=f"{OF_SEQUENCE}/frames.json",
        masks=f"{OF_SEQUENCE}/masks" if SFM.of_masks else [],
        source=source_of_poses,
    output:
        poses=f"{OF_SEQUENCE}/object_poses.npz",
        picture=f"{OF_SEQUENCE}/object_poses.png",
    pathvars:
        job="object_poses/{sequence}",
    threads: 2
    resources:
        **needs(mem_mb=4000, runtime=240),
    params:
        **stage(
            SFM.stage,
            arguments=lambda wildcards: SFM.arguments(HOLD.sfm, sequence_of(wildcards)),
            seed=HOLD.seed,
            watched=state_of_poses,
        ),


use rule stage as hand_estimates with:
    """The hands of every frame, by a network or from files."""
    input:
        on_device(f"{OF_SEQUENCE}/hand_estimates.npz"),
        frames=f"{OF_SEQUENCE}/frames",
        frames_json=f"{OF_SEQUENCE}/frames.json",
        masks=f"{OF_SEQUENCE}/masks",
        weights=hand_weights,
        given=hand_files,
        object_poses=f"{OF_SEQUENCE}/object_poses.npz",
        hand=MANO_HAND,
    output:
        hands=f"{OF_SEQUENCE}/hand_estimates.npz",
    pathvars:
        job="hand_estimates/{sequence}",
    resources:
        **needs(mem_mb=3000, gpu=1),
    params:
        **stage(
            f"estimators.{ESTIMATION.backend}.hands:find_hands",
            network=ESTIMATION.of(ESTIMATION.backend),
            search=ESTIMATION.search,
            side=hands_of,
            where=lambda wildcards: f"hold.sequences.{wildcards.sequence}",
            device=RUN.device,
            watched=hand_state,
        ),


use rule stage as corrected_masks with:
    """Carried masks once more, by the object's poses and the found hands."""
    input:
        frames=f"{OF_SEQUENCE}/frames",
        frames_json=f"{OF_SEQUENCE}/frames.json",
        masks=f"{OF_SEQUENCE}/masks",
        object_poses=f"{OF_SEQUENCE}/object_poses.npz",
        hand_estimates=f"{OF_SEQUENCE}/hand_estimates.npz",
    output:
        corrected=directory(f"{OF_SEQUENCE}/corrected_masks"),
        picture=f"{OF_SEQUENCE}/corrected_masks.png",
    pathvars:
        job="corrected_masks/{sequence}",
    resources:
        **needs(mem_mb=4000),
    params:
        **stage(
            "estimators.masks.corrected_masks:corrected_masks",
            still_camera=lambda wildcards: sequence_of(wildcards).masks.propagation.still_camera,
        ),


use rule stage as hand_poses with:
    """The hand model laid onto the joints of all frames."""
    input:
        estimates=f"{OF_SEQUENCE}/hand_estimates.npz",
        object_poses=f"{OF_SEQUENCE}/object_poses.npz",
        hand=hand_model_of,
    output:
        poses=f"{OF_SEQUENCE}/hand_poses.npz",
    pathvars:
        job="hand_poses/{sequence}",
    params:
        **stage(
            "reconstruction.registration:register_hands",
            registration=HOLD.hand.registration,
            seed=HOLD.seed,
        ),


use rule stage as align_hand_object with:
    """Hands and object brought into one frame, and the object's size."""
    input:
        hand_poses=f"{OF_SEQUENCE}/hand_poses.npz",
        object_poses=f"{OF_SEQUENCE}/object_poses.npz",
        estimates=f"{OF_SEQUENCE}/hand_estimates.npz",
        masks=masks_of,
        hand=hand_model_of,
    output:
        aligned=f"{OF_SEQUENCE}/aligned.npz",
        history=f"{OF_SEQUENCE}/alignment.csv",
    pathvars:
        job="align_hand_object/{sequence}",
    params:
        **stage(
            "reconstruction.alignment:align_hand_object",
            alignment=HOLD.hand.alignment,
            object_size_m=lambda wildcards: sequence_of(wildcards).object_size_m,
            seed=HOLD.seed,
        ),


use rule stage as build_sequence with:
    """HOLD's `build/` folder: what its own code starts from, and ours."""
    input:
        aligned=f"{OF_SEQUENCE}/aligned.npz",
        object_poses=f"{OF_SEQUENCE}/object_poses.npz",
        frames=f"{OF_SEQUENCE}/frames",
        frames_json=f"{OF_SEQUENCE}/frames.json",
        masks=masks_of,
        hand=hand_model_of,
    output:
        build=directory(f"{OF_SEQUENCE}/build"),
    pathvars:
        job="build_sequence/{sequence}",
    resources:
        **needs(mem_mb=3000, runtime=30),
    params:
        **stage("reconstruction.build_scene:build_sequence"),


use rule stage as object_shape with:
    """The object's shape from masks and poses, by stereo, and the visual hull that it starts from."""
    input:
        on_device(f"{OF_SEQUENCE}/shape.npz"),
        build=build_of,
        hand=hand_model_of,
    output:
        shape=f"{OF_SEQUENCE}/shape.npz",
        hull_mesh=f"{OF_SEQUENCE}/hull/object.npz",
        hull_poses=f"{OF_SEQUENCE}/hull/poses.npz",
    pathvars:
        job="object_shape/{sequence}",
    threads: 2
    resources:
        **needs(mem_mb=3000, gpu=1),
    params:
        **stage(
            "reconstruction.shape.object_shape:shape_of_build",
            cells=HOLD.object_cells,
            points_reach=HOLD.compact.points_reach,
            device=RUN.device,
            watched=sequence_state(BUILD_IN),
        ),


use rule stage as refine_poses with:
    """Phase 2: poses moved so that silhouettes fit the masks and the hand touches the object."""
    input:
        on_device(f"{OF_SEQUENCE}/phase2/poses.npz"),
        build=build_of,
        first_poses=f"{OF_SEQUENCE}/phase1/poses.npz",
        mesh=f"{OF_SEQUENCE}/phase1/object.npz",
        hand=hand_model_of,
    output:
        poses=f"{OF_SEQUENCE}/phase2/poses.npz",
        history=f"{OF_SEQUENCE}/phase2/history.csv",
    pathvars:
        job="refine_poses/{sequence}",
    threads: 2
    resources:
        **needs(mem_mb=4000, gpu=1),
    params:
        **stage(
            "reconstruction.refinement:refine_poses",
            refinement=refinement_of,
            device=RUN.device,
            watched=sequence_state(BUILD_IN),
        ),
