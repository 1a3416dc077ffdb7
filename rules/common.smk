# The configuration, checked before any job starts, and what the rules share.
import filelock
from workflow_scripts.settings.code_hash import code_hash
from workflow_scripts.errors import UserError
from workflow_scripts.failures import failures, listing
from workflow_scripts import media
from workflow_scripts.plan import (
    COMPOSERS,
    EXTRACTORS,
    FAMILIES,
    READERS,
    REDUCERS,
    SYSTEMS,
    Plan,
    as_json,
    downloads,
    revision,
)
from workflow_scripts.settings.base import read_yaml
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.papers import OVERLAYS


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
    read_yaml(ROOT / "config.yaml")  # refuses what Snakemake's own reader lets pass: a key that stands twice
    return Config.check(config, "config.yaml")


CONFIG = checked_config()
signal.signal(signal.SIGUSR1, lambda *_: None)  # for training: SLURM sends it to all processes of a job, this one too
WORK = CONFIG.work_dir


@functools.cache
@user_errors
def plan(scale):
    return Plan(ROOT, CONFIG, scale)


def planned(function):
    """An input or params function that is given the plan of its scale beside the wildcards."""

    @user_errors
    def wrapper(wildcards):
        return function(plan(wildcards.scale), wildcards)

    return wrapper


def threads_of(stage):
    """The threads of a stage's jobs."""
    return lambda wildcards: plan_of(wildcards).needs(stage).threads


def asks(stage):
    """The resources of a stage's jobs, from resources.yaml."""
    keys = ["mem_mb", "runtime", "disk_mb", "gpu", "network"]
    keys += ["nodes", "tasks", "mpi", "slurm_extra", "launcher"] if stage == "training" else []

    def ask(key):
        @user_errors
        def value(wildcards, attempt):
            return plan_of(wildcards).asks(stage, wildcards, attempt).get(key)

        return value

    return {key: ask(key) for key in keys}


def plan_of(wildcards):
    """The plan of a job's scale: the one in its path, or the configured one."""
    return plan(wildcards.get("scale", CONFIG.scale))


@user_errors
def check_papers():
    for name in plan(CONFIG.scale).papers:
        plan(CONFIG.scale).paper(name)


if workflow.is_main_process:  # its jobs need not check again
    check_papers()


@user_errors
def with_table(table):
    """The chosen papers that have a table of this name, at the configured scale."""
    return plan(CONFIG.scale).with_table(table)


def judged(table):
    """The claims and the coverage of the papers with a table."""
    here = plan(CONFIG.scale)
    return [here.result(paper, name) for paper in with_table(table) for name in ("claims.csv", "coverage.csv")]


def pictures(table):
    """The pictures of the tables of a front door that hold scores."""
    here = plan(CONFIG.scale)
    return [here.result(paper, f"{table}.png") for paper in with_table(table) if here.table(paper, table).scores()]


def tracked(table):
    """The tracking of the papers with a table, if there is any."""
    if CONFIG.tracking_uri is None:
        return []
    return [f"{WORK}/{CONFIG.scale}/tracking/{paper}.json" for paper in with_table(table)]


@user_errors
def front_doors():
    return [f"results/{table}.csv" for table in plan(CONFIG.scale).front_doors()]


@user_errors
def all_others():
    """All figures, claims and coverage of the chosen papers."""
    here = plan(CONFIG.scale)
    figures = [figure for paper in here.papers for figure in here.figures(paper)]
    return [*figures, here.result("claims.csv"), here.result("coverage.csv")]


@user_errors
def everything_from_a_network():
    """What the chosen papers fetch, at the configured scale."""
    return downloads(plan(CONFIG.scale))


HELD = filelock.FileLock(".snakemake/encore.lock")


def hold_folder():
    """Refuses a second run in the same folder. Unlike Snakemake's lock, this one ends with its process, even a killed one."""
    try:
        HELD.acquire(timeout=0)
    except filelock.Timeout:
        raise WorkflowError("another run is working in this folder: wait for it, or stop it") from None


def print_results():
    """Says where the results are, once a workflow has finished."""
    for path in filter(os.path.exists, map(str, front_doors())):
        print(f"{path}: the table at the scale {CONFIG.scale}; as printed: {plan(CONFIG.scale).result()}/<paper>/")


def print_failures(logs):
    """Lists what failed, with likely causes, once a workflow has ended; `logs` are Snakemake's."""
    text = "".join(Path(log).read_text(encoding="utf-8", errors="replace") for log in logs)
    if found := failures(text, Path.cwd()):
        print(listing(found), file=sys.stderr)


wildcard_constraints:
    scale="|".join(OVERLAYS),
    corpus=r"\w+",
    paper=r"\w+",
    feature=r"\w+",
    experiment=r"[\w.-]+",
    figure=r"figure\d+",
    table=r"(?!figure\d|(?:claims|coverage)\b)\w+",
    shard=r"\d+",
    sample_rate=r"\d+",
    group=r"seeds-\d+-\d+",


localrules:
    all,
    downloads,
