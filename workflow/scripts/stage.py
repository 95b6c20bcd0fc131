"""Run the function that a rule names, with the rule's files, parameters and wildcards as its arguments."""

from handloom.runtime.job import logged_job

if __name__ == "__main__":  # worker processes of a stage import this file
    with logged_job(snakemake.log[0], snakemake.threads):
        from handloom.runtime.stages import run_stage

        job = snakemake
        parameters = {name: value for name, value in job.params.items() if name not in ("stage", "code", "watched")}
        offered = {**dict(job.resources.items()), **dict(job.wildcards.items())}
        offered |= {"threads": job.threads, "code": job.params.code}
        files = {"inputs": dict(job.input.items()), "outputs": dict(job.output.items())}
        run_stage(job.params.stage, **files, parameters=parameters, offered=offered)
