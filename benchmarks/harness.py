"""Measures a stage: a process for each contender, on the same inputs, one repetition of each in turn.

CPU time is that of the process and of all programs that it has started, Java and ffmpeg included, on however many
threads. Peak memory is that of all these together.
"""

import contextlib
import multiprocessing
import os
import resource
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pydantic import BaseModel

from benchmarks.stage import DifferentError, load

# Read by libraries when they are loaded.
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA", "NUMEXPR", "RAYON")
DIFFERENT = "DIFFERENT"  # begins what is said of results that are not ours
GROWTH = (0.25, 1.0, 4.0)  # of a stage's size: once, 4 and 16 times as much
LOOK = 0.02  # seconds between looks at the memory of a contender's programs


class Row(BaseModel):
    """A contender in a stage."""

    contender: str
    status: str = "measured"  # or what kept it from that
    units: int = 0  # done in each repetition
    cpu: list[float] = []  # seconds of each repetition
    wall: list[float] = []  # seconds on the clock
    peak_mb: float = 0.0  # of the process and its programs, with all that is imported
    work_mb: float = 0.0  # of these, more than before the first repetition
    same: str = ""  # how near our results are to its

    @property
    def seconds(self) -> float:
        """The median CPU time of a repetition."""
        return float(np.median(self.cpu))

    @property
    def rate(self) -> float:
        """Units a CPU-second."""
        return self.units / self.seconds

    @property
    def spread(self) -> float:
        """Half the range between the quartiles, as a share of the median."""
        lower, upper = np.percentile(self.cpu, [25, 75])
        return float(upper - lower) / 2 / self.seconds


def measure(module: str, size: float, repeats: int, names: Iterable[str] | None = None) -> list[Row]:
    """The rows of a module's stage whose inputs are `size` times its own, one a contender, or one of each of `names`.

    That of a contender which is not installed, or fails, says so; the others are measured.
    """
    stage = load(module)
    units = max(round(stage.size * size), 1)
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        folder = Path(place)
        alone(prepare, module, folder, units)
        found, alive = {}, {}
        for contender in names or stage.contenders:
            found[contender], process = started(module, contender, folder, units)
            if process:
                alive[contender] = stack.enter_context(process)
        for contender, near in alone(compared, module, folder, list(alive)).items():
            found[contender].same = near
        for _ in range(min(repeats, stage.repeats)):  # in turn, so that a busy moment of the machine meets all
            for contender, process in list(alive.items()):
                row = found[contender]
                try:
                    cpu, wall, peak = process.ask()
                except RuntimeError as error:
                    row.status, row.cpu = f"failed: {error}", []
                    del alive[contender]
                    continue
                row.cpu.append(cpu)
                row.wall.append(wall)
                row.peak_mb = max(row.peak_mb, peak)
    for row in found.values():
        row.work_mb += row.peak_mb  # less what there was before
    return list(found.values())


def grown(module: str, size: float, repeats: int) -> list[Row]:
    """Our rows at each of `GROWTH`, in up to three repetitions."""
    return [measure(module, size * factor, min(repeats, 3), ["ours"])[0] for factor in GROWTH]


class Contender(contextlib.AbstractContextManager):
    """The process of a contender: it is asked for one repetition after the other."""

    def __init__(self, module: str, contender: str, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, module, contender, folder), daemon=False)
        with one_thread():
            self.process.start()
        theirs.close()

    def ask(self) -> Any:
        """A repetition: seconds of CPU and clock, and the peak of memory so far, MB."""
        self.pipe.send(True)
        peak = 0.0
        while not self.pipe.poll(LOOK):
            peak = max(peak, tree_mb(self.process.pid))
        cpu, wall, own = self.answer()
        return cpu, wall, max(own, peak)

    def answer(self) -> Any:
        """What it says next; an exception is its own."""
        try:
            said = self.pipe.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(f"its process ended (exit code {self.process.exitcode})") from None
        if isinstance(said, Exception):
            raise said
        return said

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send(False)
        self.process.join()


def started(module: str, contender: str, folder: Path, units: int) -> tuple[Row, Contender | None]:
    """A contender that is warm, and its row; without a process where it cannot run."""
    row, process = Row(contender=contender, units=units), Contender(module, contender, folder)
    try:
        row.work_mb = -process.answer()
        row.peak_mb = process.ask()[2]  # and warms up
    except ModuleNotFoundError:
        row.status, row.work_mb = "not installed", 0.0
    except Exception as error:  # noqa: BLE001 - whatever befalls one, the others are measured
        row.status, row.work_mb = f"failed: {said(error)}", 0.0
    if row.status == "measured":
        return row, process
    process.__exit__()
    return row, None


def serve(pipe: Connection, module: str, contender: str, folder: Path) -> None:
    """What a contender's process does."""
    try:
        quiet()
        work = load(module).contenders[contender](folder)
        pipe.send(tree_mb(os.getpid()))
        while pipe.recv():
            cpu, wall = cpu_seconds(), time.perf_counter()
            finish(work())
            pipe.send((cpu_seconds() - cpu, time.perf_counter() - wall, peak_mb()))
    except Exception as error:  # noqa: BLE001 - told in the row
        pipe.send(error if isinstance(error, ModuleNotFoundError) else RuntimeError(said(error)))


def said(error: Exception) -> str:
    """An exception in one line."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def alone(function: Any, *arguments: Any) -> Any:
    """What a function gives in a process of its own, on one thread."""
    from concurrent.futures import ProcessPoolExecutor

    with one_thread(), ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def prepare(module: str, folder: Path, units: int) -> None:
    """Writes the inputs."""
    quiet()
    load(module).prepare(folder, units)


def compared(module: str, folder: Path, contenders: list[str]) -> dict[str, str]:
    """How near our results are to those of each peer; that they differ is said where it must not be."""
    quiet()
    stage, near = load(module), {}
    if stage.same is None or "ours" not in contenders:
        return {}
    for contender in contenders:
        if contender in stage.peers and contender not in stage.unlike:
            try:
                near[contender] = stage.same(stage.ours(folder), stage.peers[contender](folder))
            except DifferentError as error:
                near[contender] = f"{DIFFERENT}: {said(error)}"
    return near


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Processes that are started inside have libraries of one thread."""
    before = dict(os.environ)
    os.environ |= {f"{name}_NUM_THREADS": "1" for name in THREADS}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def quiet() -> None:
    """No word of what libraries will change one day; one thread where the environment does not say it."""
    import pyarrow as pa

    warnings.simplefilter("ignore")
    pa.set_cpu_count(1)
    with contextlib.suppress(ModuleNotFoundError):
        import cv2

        cv2.setNumThreads(1)


def finish(result: Any) -> None:
    """Runs an iterator to its end."""
    if isinstance(result, Iterator):
        deque(result, maxlen=0)


def cpu_seconds() -> float:
    """Of this process and its programs, those that have ended and those that run."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = 0.0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            running += times.user + times.system + times.children_user + times.children_system
    return time.process_time() + ended.ru_utime + ended.ru_stime + running


def tree_mb(number: int | None) -> float:
    """Memory that a process and its programs have now."""
    total = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        top = psutil.Process(number)
        for process in (top, *top.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss / 1e6
    return total


def peak_mb() -> float:
    """The most that this process alone has had."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def faults(rows: list[Row]) -> list[str]:
    """What must not be: a contender that failed, or whose results are not ours."""
    found = []
    for row in rows:
        if row.status.startswith("failed"):
            found.append(f"{row.contender} {row.status}")
        elif row.same.startswith(DIFFERENT):
            found.append(f"{row.contender}: {row.same}")
    return found
