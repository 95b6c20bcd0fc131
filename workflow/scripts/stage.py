"""Run the function that a rule names, with the rule's files, parameters and wildcards as its arguments."""

from handloom.runtime.job import logged_job, told_when_killed

if __name__ == "__main__":  # worker processes of a stage import this file
    job = snakemake
    with logged_job(job.log[0], job.threads), told_when_killed(job.rule, job.resources.get("mem_mb")):
        from handloom.runtime.stages import run_stage

        parameters = {k: v for k, v in job.params.items() if k not in ("stage", "code", "watched", "within")}
        offered = {**dict(job.resources.items()), **dict(job.wildcards.items())}
        offered |= {"threads": job.threads, "code": job.params.code}
        files = {"inputs": dict(job.input.items()), "outputs": dict(job.output.items())}
        run_stage(job.params.stage, **files, parameters=parameters, offered=offered, within=job.params.get("within"))
