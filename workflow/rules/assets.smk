"""What has to be fetched by hand, and whether it is there."""


localrules:
    check,


rule check:
    """Print data sets, models and checkpoints: found or not, where expected, licence and home page, what they enable."""
    log:
        "logs/check.log",
    conda:
        ENVIRONMENT
    params:
        config=config,
    script:
        "../scripts/check.py"
