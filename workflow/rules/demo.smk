"""Rendered data sets in the original data sets' own layouts; nothing here runs when `demo` is null."""

if RUN.demo is not None:

    use rule stage as render_assembly_sequence with:
        """One recording of AssemblyHands-ego: the images of its headset's four cameras, and what is in them."""
        output:
            images=directory(f"{DATASETS.assembly_hands.root}/images/ego_images_rectified/{{split}}/{{sequence}}"),
            annotations=f"{DATASETS.assembly_hands.root}/sequences/{{split}}/{{sequence}}.npz",
        pathvars:
            job="render_assembly_sequence/{split}/{sequence}",
        resources:
            **needs(mem_mb=1500),
        params:
            **stage("demo.headsets:render_assembly_sequence", demo=assembly_demo),

    use rule stage as gather_assembly_split with:
        """The JSON files of a split: images and boxes, calibration, 3D joints."""
        input:
            sequences=lambda wildcards: [
                f"{DATASETS.assembly_hands.root}/sequences/{wildcards.split}/{name}.npz"
                for name in demo_sequences(wildcards.split)
            ],
        output:
            **dict(zip(("data", "calibration", "joints"), annotations_of("{split}"))),
        pathvars:
            job="gather_assembly_split/{split}",
        resources:
            **needs(runtime=20),
        params:
            **stage("demo.headsets:gather_assembly_split"),

    use rule stage as render_rhd with:
        """One split of Rendered Hand Pose: colour pictures from a third person's view, masks and annotations."""
        output:
            folder=directory(f"{DATASETS.rhd.root}/RHD_published_v2/{{rhd_split}}"),
        pathvars:
            job="render_rhd/{rhd_split}",
        threads: 8
        resources:
            **needs(mem_mb=3000, runtime=120),
        params:
            **stage(
                "demo.third_person:render_rhd",
                demo=lambda wildcards: demo_part(
                    f"rhd_{wildcards.rhd_split}_images",
                    *(["turned_hands"] if wildcards.rhd_split == "training" else []),
                ),
            ),

    use rule stage as render_ganerated with:
        """GANerated Hands: colour pictures of left hands, with and without an object."""
        output:
            folder=directory(f"{DATASETS.ganerated.root}/data"),
        pathvars:
            job="render_ganerated",
        threads: 8
        resources:
            **needs(mem_mb=3000, runtime=120),
        params:
            **stage("demo.third_person:render_ganerated", demo=demo_part("ganerated_images", "turned_hands")),
