"""Rendered data sets in the original data sets' own layouts, and a sheet of their pictures; only with `demo`."""

if RUN.demo is not None:
    ANNOTATIONS = ["data", "calibration", "joints"]

    use rule stage as render_assembly_split with:
        """All recordings of a split of AssemblyHands-ego: images of four cameras each, and the split's JSON files."""
        output:
            **dict(zip(ANNOTATIONS, annotations_of("{split}"))),
            images=directory(f"{DATASETS.assembly_hands.root}/images/ego_images_rectified/{{split}}"),
            sequences=directory(f"{DATASETS.assembly_hands.root}/sequences/{{split}}"),
            picture="results/figures/demo/assembly_hands_{split}.png",
        pathvars:
            job="render_assembly_split/{split}",
        threads: 8
        resources:
            **needs(mem_mb=3000),
        params:
            **steps(
                stage("demo.headsets:render_assembly_split", demo=assembly_demo),
                stage("demo.contact_sheets:assembly_hands_sheet", files={"annotations": ANNOTATIONS}),
            ),

    use rule stage as render_rhd with:
        """One split of Rendered Hand Pose: colour pictures from a third person's view, masks and annotations."""
        output:
            folder=directory(f"{DATASETS.rhd.root}/RHD_published_v2/{{rhd_split}}"),
            picture="results/figures/demo/rhd_{rhd_split}.png",
        pathvars:
            job="render_rhd/{rhd_split}",
        threads: 8
        resources:
            **needs(mem_mb=3000, runtime=120),
        params:
            **steps(
                stage(
                    "demo.third_person:render_rhd",
                    demo=lambda wildcards: demo_part(
                        f"rhd_{wildcards.rhd_split}_images",
                        *(["turned_hands"] if wildcards.rhd_split == "training" else []),
                    ),
                ),
                stage("demo.contact_sheets:rhd_sheet"),
            ),

    use rule stage as render_ganerated with:
        """GANerated Hands: colour pictures of left hands, with and without an object."""
        output:
            folder=directory(f"{DATASETS.ganerated.root}/data"),
            picture="results/figures/demo/ganerated.png",
        pathvars:
            job="render_ganerated",
        threads: 8
        resources:
            **needs(mem_mb=3000, runtime=120),
        params:
            **steps(
                stage("demo.third_person:render_ganerated", demo=demo_part("ganerated_images", "turned_hands")),
                stage("demo.contact_sheets:ganerated_sheet"),
            ),
