"""What signals do in the process of the tests."""

import contextlib
import signal
from collections.abc import Iterator

from workflow_scripts.training.stopping import SIGNALS


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Sets back what those that stop a training do."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
