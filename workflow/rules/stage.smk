"""What every rule inherits: `use rule stage as ... with`, its files, its job's name and `params: **stage(...)`."""


rule stage:
    """What all rules inherit: a script that calls the stage that they name, its environment, log and benchmark."""
    log:
        "logs/<job>.log",
    benchmark:
        "benchmarks/<job>.tsv"
    pathvars:
        job="stage",
    conda:
        ENVIRONMENT
    resources:
        **needs(),
    script:
        "../scripts/stage.py"
