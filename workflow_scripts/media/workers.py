"""Processes that decode: a file that crashes a decoder ends one of them, and neither the job nor any other clip."""

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Self, TypeVar

from workflow_scripts.errors import UserError
from workflow_scripts.shards import ClipError, Reason, Status

T = TypeVar("T")
FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGSYS}  # of programs
TRIES = 2  # crashes at the same clip before it is to blame


class Worker(NamedTuple):
    """A process that does one thing after the other."""

    pool: ProcessPoolExecutor
    process: BaseProcess | None

    @classmethod
    def start(cls) -> "Worker":
        context = multiprocessing.get_context("spawn")  # forked ones would inherit locks and CUDA
        pool = ProcessPoolExecutor(1, context, initializer=end_with_parent)
        try:
            number = pool.submit(os.getpid).result()
        except BrokenProcessPool:
            raise UserError(
                "a process that decodes cannot be started (see above); a script of your own needs "
                "`if __name__ == '__main__':` before what it does"
            ) from None
        return cls(pool, next((p for p in multiprocessing.active_children() if p.pid == number), None))

    def death(self) -> str:
        """What ended the process, if it was a fault of its own; else empty."""
        self.pool.shutdown()
        code = self.process.exitcode if self.process else None
        if code is not None and code < 0:
            return signal.Signals(-code).name if -code in FAULTS else ""
        return f"exit code {code}"


class Workers:
    """Some processes, started when they are first needed; threads may share them."""

    def __init__(self, count: int = 1) -> None:
        self._count = max(count, 1)
        self._free = queue.LifoQueue[Worker | None]()
        for _ in range(self._count):
            self._free.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends them."""
        for _ in range(self._count):
            if worker := self._free.get():
                worker.pool.shutdown()

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function of a module gives, or raises, in one of the processes.

        Raises `ClipError` (decoder_crashed) if it ends the process each time, and (unexpected_error) if the process is
        killed from outside, as systems do that run out of memory.
        """
        death = ""
        for _ in range(TRIES):
            worker = self._free.get()
            try:
                worker = worker or Worker.start()
                return worker.pool.submit(function, *arguments).result()
            except BrokenProcessPool:
                death = worker.death() if worker else ""
                worker = None
                if not death:
                    told = "its decoder was killed from outside, perhaps for want of memory"
                    raise ClipError(Status.FAILED, Reason.UNEXPECTED, told) from None
            finally:
                self._free.put(worker)
        raise ClipError(Status.FAILED, Reason.CRASHED, f"its decoder crashes ({death})")

    def map(self, function: Callable[..., T], calls: Iterable[tuple[Any, ...]]) -> list[T | ClipError]:
        """The results of several calls, in their order, or the `ClipError` that befell each."""

        def one(arguments: tuple[Any, ...]) -> T | ClipError:
            try:
                return self.call(function, *arguments)
            except ClipError as error:
                return error

        with ThreadPoolExecutor(self._count) as threads:
            return list(threads.map(one, calls))


def end_with_parent() -> None:
    """Lets a process end with the one that started it, even if that is killed; Ctrl-C is the parent's matter."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
