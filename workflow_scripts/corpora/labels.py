"""Labels of clips that are classified in several ways at once: which part of a label is for which head."""

from collections.abc import Sequence

from workflow_scripts.errors import UserError

SINGLE = "class"  # the head of a corpus with one label a clip


def classes_of(clip: str, labels: Sequence[str] | None, heads: Sequence[str]) -> dict[str, str]:
    """A clip's class in each head: of heads verb and noun, `verb:3` and `noun:7`; of no heads, its only label.

    Raises `UserError` for a clip without exactly one label a head.
    """
    pairs = [(label.split(":", 1)[0], label.split(":", 1)[-1]) if heads else (SINGLE, label) for label in labels or []]
    wanted = list(heads) or [SINGLE]
    if sorted(head for head, _ in pairs) != sorted(wanted):
        raise UserError(f"clip {clip}: needs one label for each of {', '.join(wanted)}, has {labels}")
    return dict(pairs)
