# Encore: audio-visual papers performed again, from the first download to the last table cell.
#
# Data flow, one rules/ file and one workflow_scripts/ folder per stage:
#   assets -> corpora -> media -> features -> training -> scores -> tables -> tracking, report
#
# Paths: <work_dir>/<scale>/<stage>/…   logs/<scale>/<stage>/…   results/<scale>/<paper>/…
# What people type:
#   results/table3.csv                 the third table of every paper, at the configured scale
#   results/<scale>/<paper>/table3.csv one table of one paper at a named scale
#   results/<scale>/<paper>/figure1.png  one figure of one paper
#   results/<scale>/<paper>/sweep_<name>.csv   a search over a setting
#   results/<scale>/report.html        all of a scale as one page
#   results/<scale>/claims.csv, results/<scale>/coverage.csv
#   results/full/rehearsal.csv         what the full scale will cost, and whether it fits, tried on this machine
#   downloads                          all that needs a network; the rest can then be made without one
import functools
import gc
import os
import shlex
import signal
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.27")
PLACE = str(workflow.current_basedir)  # of this file, also where another workflow has it as a module
sys.path.insert(0, PLACE)
from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import read_yaml

ROOT = Path(os.path.relpath(PLACE))  # relative, so that a project that is moved is not made anew
# The stages' commands run with this Python, and in the folder that --directory names; libraries draw no bars of their own.
os.environ.update(
    PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.getenv('PATH', os.defpath)}",
    PYTHONPATH=PLACE,
    TQDM_DISABLE="1",
)
if shlex.quote(sys.executable) != sys.executable:  # Snakemake writes it into command lines as it is
    sys.executable = Path(sys.executable).name  # which PATH leads to


try:  # before Snakemake's own reader, which lets pass a key that stands twice, and ends in tracebacks
    read_yaml(ROOT / "config.yaml")
except UserError as error:
    raise WorkflowError(str(error)) from None


configfile: str(ROOT / "config.yaml")


# What `--sdm apptainer` runs the jobs in; made from envs/encore.def. The path is relative: Snakemake refuses a space in it.
container: os.path.relpath(ROOT / "envs" / "encore.sif")


include: "rules/common.smk"
include: "rules/assets.smk"
include: "rules/corpora.smk"
include: "rules/media.smk"
include: "rules/features.smk"
include: "rules/training.smk"
include: "rules/scores.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/listening.smk"
include: "rules/tracking.smk"
include: "rules/report.smk"
include: "rules/rehearsal.smk"


rule all:
    default_target: True
    input:
        front_doors(),
        all_others(),


rule downloads:
    input:
        everything_from_a_network(),


onstart:
    hold_folder()
    remember_restored(workflow.persistence)
    let_jobs_start_at_once(workflow)


onsuccess:
    print_results()
    write_front_report()


onerror:
    print_failures(log)
