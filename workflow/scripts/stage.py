"""Run the functions that a rule names, with the rule's files, parameters and wildcards as their arguments."""

from handloom.runtime.job import logged_job, told_when_killed

if __name__ == "__main__":  # worker processes of a stage import this file
    job = snakemake
    with logged_job(job.log[0], job.threads), told_when_killed(job.rule, job.resources.get("mem_mb")):
        from handloom.runtime.stages import run_job

        offered = {**dict(job.resources.items()), **dict(job.wildcards.items()), "threads": job.threads}
        files = {"inputs": dict(job.input.items()), "outputs": dict(job.output.items())}
        run_job(dict(job.params.items()), **files, offered=offered)
