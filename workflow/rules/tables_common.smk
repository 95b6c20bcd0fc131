"""What S2DHand's scores and tables are made of, and which files a person looks at first."""

TO_LOOK_AT = [
    Path(placed(path, PLACE))
    for path in (
        "results/overview.html",
        *(f"results/tables/{name}.md" for name in ("s2d_in", "s2d_cross", "s2d_methods", "hold")),
        *("results/tables/hold_quality.html", "results/figures/s2d_qualitative.png"),
        *(f"results/figures/hold/{name}.png" for name in SEQUENCES),
        *HOLD_PAGES,
        *(f"results/hold/{name}/{file}" for name in SEQUENCES for file in ("masks.png", "quality.csv")),
        *(path for path in FOOTAGE_FILES if path.endswith(("overlay.mp4", "quality.csv"))),
    )
]


def table_files(headset):
    """What the scores of a headset are made of."""

    def adapted(seeds):
        return lambda wildcards: of_adaptations([wildcards.setting], "predictions.npz", [headset], seeds=seeds)

    of_setting = f"results/s2d/{{setting}}/{headset}"
    draws = lambda wildcards: f"results/s2d/{wildcards.setting}/{headset}/drawn_answers.npz"
    return {
        "labels": lambda wildcards: crops_of(wildcards.setting, headset, CAMERAS, "labels.npz"),
        "source_predictions": f"{of_setting}/source_predictions.npz",
        "rotations": f"{of_setting}/rotations.json",
        "predictions": adapted(RUN.seeds),
        "of_first_seed": adapted(RUN.seeds[:1]),
        "answers": lambda wildcards: draws(wildcards) if wildcards.setting in PLUS else [],
    }


def scored_files(headset):
    """What comes of it: a table, every hand's errors, and what labels are limited by."""
    folder = f"results/s2d/{{setting}}/{headset}"
    return {
        "scores": f"{folder}/scores.csv",
        "sample_errors": f"{folder}/sample_errors.npz",
        "analysis": f"{folder}/view_analysis.csv",
    }


def of_each_headset(files):
    """The files of all headsets in the tables, with the headset's name after each argument's."""
    return {f"{name}_{headset}": path for headset in RUN.headsets for name, path in files(headset).items()}


def scoring_steps(headset):
    """Mono-M and Dual-M of all networks on a headset, and what could be had if more were known of its views."""
    files = {name: f"{name}_{headset}" for name in (*table_files(headset), *scored_files(headset))}
    given = {"headset": headset, "pairs": list(RUN.pairs)}
    return [
        stage("evaluation.headset_scores:score_headset", files=files, **given),
        stage(
            "evaluation.view_analysis:analyse_views",
            files={**files, "predictions": f"of_first_seed_{headset}"},
            **given,
        ),
    ]
