"""Rendered data sets in the original data sets' own layouts; nothing here runs when `demo` is null."""

if RUN.demo is not None:

    rule render_assembly_sequence:
        """One recording of AssemblyHands-ego: the images of its headset's four cameras, and what is in them."""
        output:
            images=directory(f"{DATASETS.assembly_hands.root}/images/ego_images_rectified/{{split}}/{{sequence}}"),
            annotations=f"{DATASETS.assembly_hands.root}/sequences/{{split}}/{{sequence}}.npz",
        log:
            "logs/render_assembly_sequence/{split}/{sequence}.log",
        benchmark:
            "benchmarks/render_assembly_sequence/{split}/{sequence}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=1500,
            runtime=60,
        params:
            demo=assembly_demo,
            code=code_digest("handloom.demo.assembly_hands"),
        script:
            "../scripts/render_assembly_sequence.py"

    rule gather_assembly_split:
        """The JSON files of a split: images and boxes, calibration, 3D joints."""
        input:
            sequences=lambda wildcards: [
                f"{DATASETS.assembly_hands.root}/sequences/{wildcards.split}/{name}.npz"
                for name in demo_sequences(wildcards.split)
            ],
        output:
            data=f"{DATASETS.assembly_hands.root}/annotations/{{split}}/assemblyhands_{{split}}_ego_data_{DATASETS.assembly_hands.version}.json",
            calibration=f"{DATASETS.assembly_hands.root}/annotations/{{split}}/assemblyhands_{{split}}_ego_calib_{DATASETS.assembly_hands.version}.json",
            joints=f"{DATASETS.assembly_hands.root}/annotations/{{split}}/assemblyhands_{{split}}_joint_3d_{DATASETS.assembly_hands.version}.json",
        log:
            "logs/gather_assembly_split/{split}.log",
        benchmark:
            "benchmarks/gather_assembly_split/{split}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=2000,
            runtime=20,
        params:
            demo=assembly_demo,
            version=DATASETS.assembly_hands.version,
            code=code_digest("handloom.demo.assembly_hands"),
        script:
            "../scripts/gather_assembly_split.py"

    rule render_rhd:
        """One split of Rendered Hand Pose: colour pictures from a third person's view, masks and annotations."""
        output:
            folder=directory(f"{DATASETS.rhd.root}/RHD_published_v2/{{rhd_split}}"),
        log:
            "logs/render_rhd/{rhd_split}.log",
        benchmark:
            "benchmarks/render_rhd/{rhd_split}.tsv"
        conda:
            ENVIRONMENT
        threads: 8
        resources:
            mem_mb=3000,
            runtime=120,
        params:
            demo=lambda wildcards: demo_part(f"rhd_{wildcards.rhd_split}_images"),
            code=code_digest("handloom.demo.rhd"),
        script:
            "../scripts/render_rhd.py"

    rule render_ganerated:
        """GANerated Hands: colour pictures of left hands, with and without an object."""
        output:
            folder=directory(f"{DATASETS.ganerated.root}/data"),
        log:
            "logs/render_ganerated.log",
        benchmark:
            "benchmarks/render_ganerated.tsv"
        conda:
            ENVIRONMENT
        threads: 8
        resources:
            mem_mb=3000,
            runtime=120,
        params:
            demo=demo_part("ganerated_images"),
            code=code_digest("handloom.demo.ganerated"),
        script:
            "../scripts/render_ganerated.py"
