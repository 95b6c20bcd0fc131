"""Draw hands before and after adaptation."""

from pathlib import Path

from handloom.runtime.job import logged_job

with logged_job(snakemake.log[0], snakemake.threads):
    from handloom.figures.qualitative import HeadsetResults, draw_qualitative

    p, lists, results, others = snakemake.params, ("views", "predictions"), [], {}
    if p.handoccnet is not None:
        from handloom.estimators.handoccnet.view_joints import ViewJoints
        from handloom.hand.configured_hand import configured_hand
        from handloom.runtime.config.handoccnet import HandOccNetSettings

        settings, hand = HandOccNetSettings.model_validate(p.handoccnet), configured_hand(snakemake.input.hand)
        others["HandOccNet"] = ViewJoints.of(Path(snakemake.input.handoccnet), hand, settings)
    read = {name: paths for name, paths in snakemake.input.items() if name not in ("handoccnet", "hand")}
    for headset in p.headsets:
        files = {name: [Path(x) for x in paths if f"/{headset}/" in x] for name, paths in read.items()}
        results.append(HeadsetResults(headset, **{n: found if n in lists else found[0] for n, found in files.items()}))
    run = {"setting": p.setting, "root_joint": p.root_joint, "seed": p.seed, "others": others, "note": p.note}
    draw_qualitative(results, Path(snakemake.output.picture), **run)
