"""S2DHand on the user's own camera pairs: frames, hands, pairs of frames, adaptation, fused poses."""


rule footage_frames:
    """The frames of one view, in order, and when they were taken."""
    input:
        source=view_source,
    output:
        frames=directory(f"{OF_VIEW}/frames"),
        list=f"{OF_VIEW}/frames.json",
    log:
        "logs/footage_frames/{rig}/{view}.log",
    benchmark:
        "benchmarks/footage_frames/{rig}/{view}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        sequence=view_sequence,
        code=code_digest("handloom.datasets.video"),
    script:
        "../scripts/footage_frames.py"


rule footage_hands:
    """The hand of every frame of one view, and a picture to check it."""
    input:
        frames=f"{OF_VIEW}/frames",
        list=f"{OF_VIEW}/frames.json",
        network=footage_source,
        palms=FOOTAGE_PALMS,
        boxes=view_boxes,
    output:
        hands=f"{OF_VIEW}/hands.npz",
        picture=report(
            f"{OF_VIEW}/hands.jpg",
            caption="../report/footage_hands.rst",
            category="Own camera pairs",
            labels={"picture": "hands, {view}", "pair": "{rig}"},
        ),
    log:
        "logs/footage_hands/{rig}/{view}.log",
    benchmark:
        "benchmarks/footage_hands/{rig}/{view}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=3000,
        runtime=120,
        gpu=GPUS,
    params:
        footage=footage_part("least_presence", "least_confidence", "least_hands"),
        pair=rig_part("side", "field_of_view_deg", "left_boxes", "right_boxes"),
        device=RUN.device,
        code=code_digest("handloom.footage.view_hands", "handloom.figures.footage_hands"),
    script:
        "../scripts/footage_hands.py"


rule footage_pairs:
    """Which frames of the two views show the same moment."""
    input:
        hands=expand(f"{OF_RIG}/{{view}}/hands.npz", view=VIEWS, allow_missing=True),
        lists=expand(f"{OF_RIG}/{{view}}/frames.json", view=VIEWS, allow_missing=True),
    output:
        pairs=f"{OF_RIG}/pairs.npz",
        pairing=f"{OF_RIG}/pairing.json",
        picture=report(
            f"{OF_RIG}/pairing.png",
            caption="../report/footage_pairing.rst",
            category="Own camera pairs",
            labels={"picture": "pairing", "pair": "{rig}"},
        ),
    log:
        "logs/footage_pairs/{rig}.log",
    benchmark:
        "benchmarks/footage_pairs/{rig}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        pairing=plain(FOOTAGE.pairing),
        pair=rig_part("offset_s"),
        code=code_digest("handloom.footage.pairing", "handloom.figures.footage_pairing"),
    script:
        "../scripts/footage_pairs.py"


rule footage_adapt:
    """S2DHand on a camera pair; a killed adaptation goes on from its last checkpoint."""
    input:
        frames=expand(f"{OF_RIG}/{{view}}/frames", view=VIEWS, allow_missing=True),
        hands=expand(f"{OF_RIG}/{{view}}/hands.npz", view=VIEWS, allow_missing=True),
        pairs=f"{OF_RIG}/pairs.npz",
        source=footage_source,
    output:
        network=f"{OF_RIG}/network.safetensors",
        history=f"{OF_RIG}/history.csv",
        rotation=f"{OF_RIG}/rotation.json",
    log:
        "logs/footage_adapt/{rig}.log",
    benchmark:
        "benchmarks/footage_adapt/{rig}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=6000,
        runtime=240,
        gpu=GPUS,
    params:
        footage=footage_part("adaptation", "seed"),
        pair=rig_part("side"),
        device=RUN.device,
        code=code_digest("handloom.footage.pair_adaptation"),
    script:
        "../scripts/footage_adapt.py"


rule footage_poses:
    """The poses of both views in one, for every pair of frames."""
    input:
        frames=expand(f"{OF_RIG}/{{view}}/frames", view=VIEWS, allow_missing=True),
        lists=expand(f"{OF_RIG}/{{view}}/frames.json", view=VIEWS, allow_missing=True),
        hands=expand(f"{OF_RIG}/{{view}}/hands.npz", view=VIEWS, allow_missing=True),
        pairs=f"{OF_RIG}/pairs.npz",
        source=footage_source,
        network=f"{OF_RIG}/network.safetensors",
        rotation=f"{OF_RIG}/rotation.json",
    output:
        poses=f"{OF_RIG}/poses.npz",
        text=f"{OF_RIG}/poses.json",
    log:
        "logs/footage_poses/{rig}.log",
    benchmark:
        "benchmarks/footage_poses/{rig}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=GPUS,
    params:
        footage=footage_part("adaptation"),
        pair=rig_part("side"),
        device=RUN.device,
        code=code_digest("handloom.footage.fused_poses"),
    script:
        "../scripts/footage_poses.py"


rule footage_video:
    """Both views with the fused pose laid over, as a video, and the fused pose as a moving skeleton."""
    input:
        poses=f"{OF_RIG}/poses.npz",
        frames=expand(f"{OF_RIG}/{{view}}/frames", view=VIEWS, allow_missing=True),
        hands=expand(f"{OF_RIG}/{{view}}/hands.npz", view=VIEWS, allow_missing=True),
    output:
        video=report(
            f"{OF_RIG}/overlay.mp4",
            caption="../report/footage_video.rst",
            category="Own camera pairs",
            labels={"picture": "fused poses", "pair": "{rig}"},
        ),
        skeleton=f"{OF_RIG}/skeleton.glb",
    log:
        "logs/footage_video/{rig}.log",
    benchmark:
        "benchmarks/footage_video/{rig}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        code=code_digest("handloom.figures.footage_video", "handloom.figures.footage_skeleton"),
    script:
        "../scripts/footage_video.py"


rule footage_quality:
    """What to trust of a camera pair, and what to film better."""
    input:
        hands=expand(f"{OF_RIG}/{{view}}/hands.npz", view=VIEWS, allow_missing=True),
        pairing=f"{OF_RIG}/pairing.json",
        rotation=f"{OF_RIG}/rotation.json",
        poses=f"{OF_RIG}/poses.npz",
    output:
        table=report(
            f"{OF_RIG}/quality.csv",
            caption="../report/footage_quality.rst",
            category="Own camera pairs",
            labels={"picture": "quality", "pair": "{rig}"},
        ),
    log:
        "logs/footage_quality/{rig}.log",
    benchmark:
        "benchmarks/footage_quality/{rig}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("handloom.footage.quality"),
    script:
        "../scripts/footage_quality.py"


localrules:
    footage,


rule footage:
    """Everything of every camera pair in footage.pairs."""
    input:
        FOOTAGE_FILES,
