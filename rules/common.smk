# The configuration, checked before any job starts, and what the rules share.
import filelock
from workflow_scripts.assets import plan as assets
from workflow_scripts.corpora import plan as corpora
from workflow_scripts.failures import failures, listing
from workflow_scripts.features import plan as features
from workflow_scripts.figures import plan as figures
from workflow_scripts.listening import plan as listening
from workflow_scripts.media import plan as media
from workflow_scripts.plan import resources, sweeps
from workflow_scripts.plan.checks import check
from workflow_scripts.plan.downloads import downloads
from workflow_scripts.rehearsal import plan as rehearsal
from workflow_scripts.report import plan as reporting
from workflow_scripts.scores import plan as scores
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.papers import OVERLAYS
from workflow_scripts.settings.scale import Scale
from workflow_scripts.tables import plan as tables
from workflow_scripts.tables.closing import closing
from workflow_scripts.tracking import plan as tracking
from workflow_scripts.training import plan as training


def user_errors(function):
    """Turns our errors into Snakemake's, which are shown without a traceback."""

    @functools.wraps(function)
    def wrapper(*args, **keywords):
        try:
            return function(*args, **keywords)
        except UserError as error:
            raise WorkflowError(str(error)) from None

    return wrapper


@user_errors
def checked_config():
    typed = workflow.config_settings.config  # on the command line
    found = Config.check({key: value for key, value in config.items() if key not in typed}, "config.yaml")
    return Config.check(config, "--config") if typed else found


CONFIG = checked_config()
signal.signal(signal.SIGUSR1, lambda *_: None)  # for training: SLURM sends it to all processes of a job, this one too
shell.prefix("trap : TERM USR1; set -euo pipefail; ")  # the shell outlives a signal until its job has left
gc.set_threshold(100_000)  # a plan is thousands of jobs that all stay: looking through them for waste is half a second
WORK = CONFIG.work_dir


@functools.cache
@user_errors
def scale_named(name):
    return Scale(ROOT, CONFIG, name)


def scale_of(wildcards):
    """The scale in a job's path, or the configured one."""
    return scale_named(wildcards.get("scale", CONFIG.scale))


HERE = scale_named(CONFIG.scale)
if workflow.is_main_process:  # its jobs need not check again
    user_errors(check)(HERE)
    for sentence in user_errors(list)(sweeps.told(sys.argv, scale_named)):
        print(sentence, file=sys.stderr)


# What a rule wants to know of its jobs follows from the description that a stage's plan gives of them, the inputs, the
# description itself, and its identity. A description is no trigger (Snakemake compares only params that are plain
# values), so that manners reach a job without making it run again.


@functools.cache
@user_errors
def described(planned, *wildcards):
    values = dict(wildcards)
    return planned(scale_named(values.pop("scale", CONFIG.scale)), **values)


def inputs(planned):
    """The named inputs of a rule whose jobs `planned` describes."""
    return lambda wildcards: described(planned, *wildcards.items()).inputs()


@user_errors
def metrics_tried(wildcards):
    """What says that the metrics of a training job can be computed; no training is old because it is new."""
    return [ancient(str(path)) for path in scores.tried(scale_of(wildcards), wildcards.paper, wildcards.experiment)]


def job(planned):
    """What a rule hands to its jobs, the description, and the identity by which they run again."""
    return {
        "job": lambda wildcards: described(planned, *wildcards.items()),
        "identity": lambda wildcards: described(planned, *wildcards.items()).digest(),
    }


def threads_of(stage):
    """The threads of a stage's jobs."""
    return lambda wildcards: resources.needs(scale_of(wildcards), stage).threads


@functools.cache
@user_errors
def asked(stage, attempt, *wildcards):
    return resources.asks(scale_named(dict(wildcards).get("scale", CONFIG.scale)), stage, dict(wildcards), attempt)


def asks(stage):
    """The resources of a stage's jobs, from resources.yaml."""
    keys = ["mem_mb", "runtime", "disk_mb", "gpu", "network"]
    keys += {"training": ["nodes", "tasks", "mpi", "slurm_extra"], "features": ["gpu_mb"]}.get(stage, [])

    def ask(key):
        return lambda wildcards, attempt: asked(stage, attempt, *wildcards.items()).get(key)

    return {key: ask(key) for key in keys}


@user_errors
def front_doors():
    return [f"results/{table}.csv" for table in tables.front_doors(HERE)]


@user_errors
def all_others():
    """The report, all figures, claims and coverage of the chosen papers, and all of them in MLflow."""
    found = [picture for paper in HERE.papers for picture in figures.pictures(HERE, paper)]
    if CONFIG.tracking_uri is not None:
        found += [HERE.work / "tracking" / f"{paper}.json" for paper in HERE.papers]
    return [*found, HERE.result("claims.csv"), HERE.result("coverage.csv"), HERE.result("report.html")]


@user_errors
def everything_from_a_network():
    """What the chosen papers fetch, at the configured scale."""
    return downloads(HERE)


HELD = filelock.FileLock(".snakemake/encore.lock")


def hold_folder():
    """Refuses a second run in the same folder. Unlike Snakemake's lock, this one ends with its process, even a killed one."""
    try:
        HELD.acquire(timeout=0)
    except filelock.Timeout:
        raise WorkflowError("another run is working in this folder: wait for it, or stop it") from None


def remember_restored(records):
    """Lets outputs that Snakemake puts back when their job fails be made anew, though it records the job as finished.

    Without, what was made from old settings would pass for what the new ones make.
    """
    restore, finish, restored = records.restore_output, records.finished, set()

    def restore_output(path):
        found = restore(path)
        restored.update([str(path)] if found else [])
        return found

    async def finished(job):
        await finish(job)
        for output in (path for path in job.output if str(path) in restored):
            restored.remove(str(output))
            records._mark_incomplete(records._get_key(output), None)

    records.restore_output, records.finished = restore_output, finished


def let_jobs_start_at_once(running):
    """Lifts Snakemake's limit of jobs that start within a second, where they run on this machine.

    To keep it, Snakemake would look through all jobs that wait once a second, and for each job that has ended once more,
    to the end of the run: after 60 jobs that took six percent of a core.
    """
    if running.local_exec:
        running.scheduler.job_rate_limiter = None


def print_results():
    """Says what was made, once a workflow has finished, and what became of the claims."""
    for line in closing(HERE, workflow.dag.derived_targetfiles):
        print(line)


def write_front_report():
    """The page of the front doors that were made at the configured scale, anew when one of them is newer."""
    job = reporting.front_report(HERE, tables.open_doors(HERE))
    page, made = Path("results/report.html"), [path.stat().st_mtime for path in job.needed if path.exists()]
    if not job.parts or len(made) < len(job.needed):
        return
    if not page.exists() or page.stat().st_mtime < max(made):
        user_errors(job.run)(page)
    print(f"{page}: these tables as a page, with their claims and clips to hear")


def print_failures(logs):
    """Lists what failed, with likely causes, once a workflow has ended; `logs` are Snakemake's."""
    text = "".join(Path(log).read_text(encoding="utf-8", errors="replace") for log in logs)
    if found := failures(text, Path.cwd()):
        print(listing(found), file=sys.stderr)


wildcard_constraints:
    scale="|".join(OVERLAYS),
    corpus=r"[\w.-]+",
    paper=r"[\w.-]+",
    feature=r"[\w.-]+",
    experiment=r"[\w.-]+",
    figure=r"figure\d+",
    table=r"(?!figure\d|(?:claims|clips|coverage|table\d+_claims)\b)\w+",
    shard=r"\d+",
    sample_rate=r"\d+",
    group=r"seeds-\d+-\d+",


localrules:
    all,
    downloads,
