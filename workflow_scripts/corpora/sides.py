"""Which files train and which test, or which fold they are in, so that the pieces of one recording stay together.

`classes` are the paths of each class, `wholes` the recording that each path is of, and sides `train` and `test`, or the
numbers of folds. What is drawn depends on hashes of paths alone, and is the same on every machine.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from workflow_scripts.errors import UserError
from workflow_scripts.shards import shard_of

Classes = Mapping[str, Sequence[str]]
Sides = dict[str, str] | dict[str, int]
TRAIN, TEST = "train", "test"


def tested(classes: Classes, wholes: Mapping[str, str], share: float) -> dict[str, str]:
    """The split of each file: of each class about a share of the files tests, at least one recording and never all."""
    sides: dict[str, str] = {}
    for paths in classes.values():
        sizes = in_order(paths, wholes)
        had = Counter(sides.get(whole) for whole in sizes)
        wanted = min(len(paths) - 1, math.ceil(share * len(paths)))
        taken = sum(size for whole, size in sizes.items() if sides.get(whole) == TEST)
        waiting = [whole for whole in sizes if whole not in sides]
        for whole in waiting:
            nearer = abs(taken + sizes[whole] - wanted) < abs(taken - wanted)
            last = whole == waiting[-1] and not had[TRAIN] and TRAIN not in [sides.get(other) for other in waiting]
            sides[whole] = TEST if nearer and not last else TRAIN
            taken += sizes[whole] * (sides[whole] == TEST)
        if not taken and len(sizes) > 1 and waiting:
            sides[min(waiting, key=sizes.__getitem__)] = TEST
    return {path: sides[wholes[path]] for paths in classes.values() for path in paths}


def dealt(classes: Classes, wholes: Mapping[str, str], folds: int) -> dict[str, int]:
    """The fold of each file, of each class about as many in each fold."""
    sides: dict[str, int] = {}
    in_all = Counter[int]()
    for paths in classes.values():
        sizes = in_order(paths, wholes)
        of_class = Counter[int]()
        for whole, size in sizes.items():
            if whole in sides:
                of_class[sides[whole]] += size
        for whole in sorted((whole for whole in sizes if whole not in sides), key=lambda whole: -sizes[whole]):
            fold = min(range(folds), key=lambda fold: (of_class[fold], in_all[fold], fold))
            sides[whole] = fold
            of_class[fold] += sizes[whole]
            in_all[fold] += sizes[whole]
    return {path: sides[wholes[path]] for paths in classes.values() for path in paths}


def in_order(paths: Sequence[str], wholes: Mapping[str, str]) -> dict[str, int]:
    """How many of the files each recording has, in the order of the smallest hashes of paths."""
    sizes: dict[str, int] = defaultdict(int)
    for path in sorted(paths, key=lambda path: (shard_of(path, 1 << 62), path)):
        sizes[wholes[path]] += 1
    return sizes


def check(classes: Classes, wholes: Mapping[str, str], sides: Sides, where: str) -> None:
    """Pieces of one recording on two sides, or a class that is on one side alone, are a `UserError`."""
    first: dict[str, str] = {}
    for path in sorted(sides):
        other = first.setdefault(wholes[path], path)
        if sides[path] != sides[other]:
            raise UserError(
                f"{where}: '{other}' and '{path}' are pieces of one recording, '{wholes[path]}', on two sides: put "
                "them on one, or correct `recording`; null there says that each file is a recording of its own"
            )
    for label, paths in classes.items():
        if len({wholes[path] for path in paths}) == 1:
            what = "recording" if len(paths) == 1 else f"recording in {len(paths)} pieces, '{wholes[paths[0]]}'"
            raise UserError(f"{where}: the class '{label}' has one {what}; one must train and one test")
        if len(found := {sides[path] for path in paths}) == 1:
            (side,) = found
            told = f"in the fold {side} only" if isinstance(side, int) else f"only for '{side}'"
            raise UserError(f"{where}: the class '{label}' has recordings {told}; some must train and some test")


def alike(sides: Sides) -> Iterator[tuple[str, str]]:
    """Files on different sides whose names differ in a number or letter at the end alone, each with such a one."""
    first: dict[str, dict[str | int, str]] = defaultdict(dict)
    for path in sorted(sides):
        stem, mark = path.rpartition(".")[0], ""
        while stem and (stem[-1].isdigit() or (not mark and stem[-1].isalpha() and stem[-2:-1] in "-_ ")):
            stem, mark = stem[:-1], stem[-1] + mark
        if not mark or not stem.rpartition("/")[2].strip("-_ ."):
            continue
        known = first[stem]
        known.setdefault(sides[path], path)
        if others := [other for side, other in known.items() if side != sides[path]]:
            yield path, others[0]
