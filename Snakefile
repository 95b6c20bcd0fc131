# snakemake looks here first; everything is in workflow/. An include alone would leave the run without a target.
workflow.default_target = "all"


include: "workflow/Snakefile"
