"""A real SLURM on this machine alone: one node, two stand-in GPUs; its programs are unpacked, and not installed."""

import contextlib
import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ["slurmctld", "slurmd", "slurm-client", "munge"]
PROGRAMS = ["sbatch", "squeue", "srun", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr"]
CONFIGURATION = """
ClusterName=encore
MailProg=/bin/true
SlurmctldHost=localhost
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
PluginDir={plugins}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=10
MinJobAge=600
SchedulerParameters=sched_interval=2,bf_interval=5,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
NodeName=localhost CPUs={cores} CoresPerSocket={cores} RealMemory=16000 Gres=gpu:2
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP
PartitionName=transfer Nodes=localhost MaxTime=INFINITE State=UP
"""


class NoSlurmError(Exception):
    """SLURM cannot be had here; the message says why."""


@dataclass
class Cluster:
    """A running cluster; whoever has its `environment` can submit jobs to it."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        """The output of one of SLURM's programs."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """All jobs that the controller remembers, as `scontrol show job` describes them."""
        lines = self.run("scontrol", "--oneliner", "show", "job").splitlines()
        return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines if line.startswith("JobId=")]


def unpack(folder: Path) -> Path:
    """SLURM's packages of this system's archive, unpacked in a folder and not installed; returns the folder."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise NoSlurmError("no apt-get here from which SLURM's packages could be had")
    archives, root = folder / "archives", folder / "root"
    archives.mkdir(parents=True)
    plan = ["apt-get", "install", "--simulate", "--no-install-recommends", *PACKAGES]
    planned = subprocess.run(plan, capture_output=True, text=True, check=False)
    names = re.findall(r"^Inst (\S+)", planned.stdout, re.MULTILINE)
    fetched = subprocess.run(["apt-get", "download", *names], cwd=archives, capture_output=True, text=True, check=False)
    if planned.returncode or fetched.returncode:
        raise NoSlurmError(f"SLURM's packages cannot be fetched: {(planned.stderr + fetched.stderr).strip()[-300:]}")
    for archive in archives.iterdir():
        subprocess.run(["dpkg", "-x", str(archive), str(root)], check=True)
    for program in (root / "usr/sbin").glob("*-wlm"):  # a daemon that is called by this name ignores its GPUs
        program.with_name(program.name.removesuffix("-wlm")).symlink_to(program)
    return root


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def find(name: str, root: Path) -> Path:
    """A program among the unpacked ones, or of the system where it was installed already."""
    for place in (root / "usr/bin", root / "usr/sbin", Path("/usr/bin"), Path("/usr/sbin")):
        for found in (place / name, place / f"{name}-wlm"):
            if found.exists():
                return found
    raise NoSlurmError(f"SLURM's packages do not hold {name}")


def wrap(program: Path, target: Path, variables: dict[str, str]) -> None:
    """A script that calls a program with its variables: Snakemake takes SLURM's own from the environment of jobs."""
    lines = [f'export {name}="{value}"' for name, value in variables.items()]
    target.write_text("\n".join(["#!/bin/sh", *lines, f'exec {program} "$@"', ""]))
    target.chmod(0o755)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Starts a cluster that lives in a folder; ends its jobs and daemons afterwards. Raises NoSlurmError."""
    root = unpack(folder)
    plugins = next(iter(root.glob("usr/lib/*/slurm-wlm")), None) or next(Path("/usr/lib").glob("*/slurm-wlm"), None)
    if plugins is None:
        raise NoSlurmError("SLURM's plug-ins were not found")
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    for number, device in enumerate(("/dev/zero", "/dev/full")):  # two devices stand for GPUs
        (folder / f"gpu{number}").symlink_to(device)
    (folder / "gres.conf").write_text(f"NodeName=localhost Name=gpu File={folder}/gpu[0-1]\n")
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            user=getpass.getuser(),
            folder=folder,
            plugins=plugins,
            controller_port=free_port(),
            node_port=free_port(),
            cores=os.cpu_count(),
        )
    )
    variables = {"SLURM_CONF": f"{folder}/slurm.conf", "LD_LIBRARY_PATH": f"{plugins.parent}:{plugins}"}
    for name in PROGRAMS:
        wrap(find(name, root), folder / "bin" / name, variables)
    environment = os.environ | {"PATH": f"{folder}/bin{os.pathsep}{os.environ['PATH']}"}
    daemons: list[subprocess.Popen] = []

    def start(name: str, *options: str) -> None:
        with (folder / f"{name}.out").open("w") as log:
            call = [str(find(name, root)), *options]
            daemons.append(subprocess.Popen(call, env=os.environ | variables, stdout=log, stderr=log))

    def wait_for(answer: str, *command: str) -> None:
        for _ in range(100):
            done = subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=False)
            if re.search(answer, done.stdout):
                return
            time.sleep(0.1)
        logs = "".join(path.read_text()[-1000:] for path in [*folder.glob("*.out"), *folder.glob("*.log")])
        raise NoSlurmError(f"{command[0]} does not answer: {logs}")

    try:
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        places = [
            f"--{name}={folder}/munge.{name.split('-')[0]}" for name in ("socket", "pid-file", "log-file", "seed-file")
        ]
        start("munged", "--foreground", "--force", f"--key-file={key}", *places)
        wait_for("MUNGE:", str(find("munge", root)), "-n", "-S", f"{folder}/munge.socket")
        start("slurmctld", "-D")
        start("slurmd", "-D", "-N", "localhost", "-d", str(find("slurmstepd", root)))
        wait_for("idle gpu:2", "sinfo", "--noheader", "--format=%T %G")
        yield Cluster(folder, environment)
        subprocess.run(["scancel", "--user", getpass.getuser()], env=environment, check=False)
        time.sleep(1)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(timeout=30)
