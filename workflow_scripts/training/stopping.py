"""The wish that a job should end soon: SIGTERM, and SIGUSR1, which SLURM can send some time before."""

import contextlib
import signal
from collections.abc import Callable, Iterator

from workflow_scripts.errors import StoppedError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
Handler = Callable[[int, object], None]


def handle(handler: Handler | signal.Handlers) -> None:
    """Sets what the signals do from now on."""
    for number in SIGNALS:
        signal.signal(number, handler)


def leave_on_signal() -> None:
    """From now on a signal raises `StoppedError`: what there is to lose is in checkpoints."""

    def leave(number: int, _: object) -> None:
        handle(signal.SIG_IGN)  # a second one must not change the exit code
        raise StoppedError(f"stopped by {signal.Signals(number).name}; run again to go on")

    handle(leave)


@contextlib.contextmanager
def stop_signal() -> Iterator[Callable[[], int]]:
    """Inside, a signal is noted: the yielded function tells its number, or 0. The caller saves and raises `stopped`."""
    came = 0

    def note(number: int, _: object) -> None:
        nonlocal came
        came = number

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield lambda: came
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_IGN if came else old)


def stopped(number: int, step: int, seed: int) -> StoppedError:
    """What to raise after a signal, once the checkpoint of a step is written."""
    return StoppedError(
        f"stopped by {signal.Signals(number).name} after step {step} of seed {seed}; run again to go on"
    )
