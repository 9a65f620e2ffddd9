# The runs that chapters want, a job each, as `reuseprior campaign --submit PROFILE` asks for them.
#
# A job makes a run for as long as it may, and goes on with it at its next try: at the limit, and
# where the machine is taken away, it gets SIGTERM, which writes a checkpoint. What is refused, such
# as data that are not there (exit code 1 or 2), would be so again: it is told, not tried again.
import json
import sys
from os.path import relpath

from reuseprior import paths
from reuseprior.report import campaign

workdir: str(paths.ROOT)

ASKED = json.loads(campaign.asked().read_text(encoding="utf-8"))
RUNS = {one.place: one for one in campaign.planned() if one.place in ASKED["runs"]}
HERE = relpath(campaign.asked().parent, paths.ROOT)


rule all:
    input:
        [f"{HERE}/{place}.done" for place in RUNS],


rule run:
    output:
        f"{HERE}/{{place}}.done",
    wildcard_constraints:
        place=".+",
    params:
        # no log of Snakemake's, which would begin anew with each try
        log=f"{HERE}/{{place}}.log",
        root=ASKED["root"],
        seconds=ASKED["seconds"],
    threads: config.get("threads", 1)
    # each by a job of its own: what began this job has come to its end
    retries: ASKED["retries"] if workflow.is_main_process else 0
    resources:
        runtime=ASKED["minutes"],
        gpu=lambda wildcards: int(RUNS[wildcards.place].device == "gpu"),
    shell:
        # the shell waits for the run to write its checkpoint
        "trap : TERM USR2; timeout --signal=TERM {params.seconds} {sys.executable:q} -m reuseprior"
        " campaign {wildcards.place:q} --start --output {params.root:q} >>{params.log:q} 2>&1"
        " || [ $? -le 2 ]; touch {output:q}"
