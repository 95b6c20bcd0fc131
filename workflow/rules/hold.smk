"""HOLD: a sequence's frames, masks and first estimates, and phase 2; phases 1 and 3 are the field's."""

if RENDERED:

    use rule stage as render_hold_sequence with:
        """A hand that turns an unknown object before a camera, in HO3D-v3's layout, and the object's textured model."""
        output:
            frames=directory(f"{HOLD_DEMO_ROOT}/train/{{sequence}}"),
            model=directory(f"{HOLD_DEMO_ROOT}/models/{{sequence}}"),
        pathvars:
            job="render_hold_sequence/{sequence}",
        threads: 8
        resources:
            **needs(mem_mb=3000),
        params:
            **steps(
                stage(
                    "demo.hold_sequences:render_hold_sequence",
                    demo=part(HOLD.demo, "seed", "frames", "width_px", "height_px"),
                    hands=hands_of,
                ),
                stage("demo.held_objects:render_held_object", demo=part(HOLD.demo, "seed")),
            ),


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


SHAPED = {
    "shape": f"{OF_SEQUENCE}/shape.npz",
    "hull_mesh": f"{OF_SEQUENCE}/hull/object.npz",
    "hull_poses": f"{OF_SEQUENCE}/hull/poses.npz",
}
SHAPE_STEPS = [
    stage(
        "reconstruction.shape.object_shape:shape_of_build",
        cells=HOLD.object_cells,
        points_reach=HOLD.compact.points_reach,
        device=RUN.device,
        watched=sequence_state(BUILD_IN),
    )
]
if HOLD.field == "compact":
    SHAPED["template"] = f"{OF_SEQUENCE}/hand_template.npz"
    SHAPE_STEPS.append(
        stage(
            "reconstruction.compact.hand_template:template_of_build",
            cells=HOLD.compact.hand_cells,
            watched=sequence_state(BUILD_IN),
        )
    )


use rule stage as build_sequence with:
    """Hands laid onto joints and brought to the object, HOLD's `build/` folder of it, and the shapes that it shows."""
    input:
        on_device(SHAPED["shape"]),
        estimates=f"{OF_SEQUENCE}/hand_estimates.npz",
        object_poses=f"{OF_SEQUENCE}/object_poses.npz",
        frames=f"{OF_SEQUENCE}/frames",
        frames_json=f"{OF_SEQUENCE}/frames.json",
        masks=masks_of,
        hand=hand_model_of,
    output:
        **SHAPED,
        hand_poses=f"{OF_SEQUENCE}/hand_poses.npz",
        aligned=f"{OF_SEQUENCE}/aligned.npz",
        history=f"{OF_SEQUENCE}/alignment.csv",
        build=directory(f"{OF_SEQUENCE}/build"),
    pathvars:
        job="build_sequence/{sequence}",
    wildcard_constraints:
        sequence="|".join(WITH_STAGES) or "none-",
    threads: 2
    resources:
        **needs(mem_mb=3000, gpu=1),
    params:
        **steps(
            stage(
                "reconstruction.registration:register_hands",
                files={"poses": "hand_poses"},
                registration=HOLD.hand.registration,
                seed=HOLD.seed,
            ),
            stage(
                "reconstruction.alignment:align_hand_object",
                alignment=HOLD.hand.alignment,
                object_size_m=lambda wildcards: sequence_of(wildcards).object_size_m,
                seed=HOLD.seed,
            ),
            stage("reconstruction.build_scene:build_sequence"),
            *SHAPE_STEPS,
        ),


use rule stage as object_shape with:
    """The shapes that a build folder of the user's shows."""
    input:
        on_device(SHAPED["shape"]),
        build=build_of,
        hand=hand_model_of,
    output:
        **SHAPED,
    pathvars:
        job="object_shape/{sequence}",
    wildcard_constraints:
        sequence="|".join(set(SEQUENCES) - set(WITH_STAGES)) or "none-",
    threads: 2
    resources:
        **needs(mem_mb=3000, gpu=1),
    params:
        **steps(*SHAPE_STEPS),


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
