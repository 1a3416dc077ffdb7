"""Mean opinion scores from the files that raters returned."""

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from workflow_scripts.errors import UserError
from workflow_scripts.files import read_csv, read_json
from workflow_scripts.listening.plan import CollectRatings
from workflow_scripts.settings.listening import HIGHEST, LOWEST, ListeningTest
from workflow_scripts.shards import atomic

log = logging.getLogger(__name__)

CONFIDENCE = 0.95
POINTS = {str(point): point for point in range(LOWEST, HIGHEST + 1)}


class Rating(NamedTuple):
    """What one rater gave one caption."""

    rater: str
    caption: str
    points: dict[str, int]  # by scale; of those that were rated


def read_ratings(path: Path, test: ListeningTest, captions: Mapping[str, Any]) -> list[Rating]:
    """The ratings of one file; a `UserError` names the line of what cannot be used.

    `captions` are those of the key, by id.
    """
    found: list[Rating] = []
    hint = "; send the file as the page saved it, not as a spreadsheet did"
    for number, line in read_csv(path, test.columns(), hint):
        where, rater = f"{path}, line {number}", line["rater_id"].strip()
        if not rater:
            raise UserError(f"{where}: the rater_id is empty; every rating must say who gave it")
        caption = line["caption_id"].strip()
        if caption not in captions:
            raise UserError(
                f"{where}: the caption_id '{caption}' is not in the key; these ratings are of another export "
                "of the test: put the key of that export beside them as key.json, or leave the file out"
            )
        found.append(Rating(rater, caption, points_of(line, test.scales, where)))
    return found


def points_of(line: Mapping[str, str], scales: Iterable[str], where: str) -> dict[str, int]:
    """The ratings of a line by scale, without those that are empty."""
    given = {scale: line[scale].strip() for scale in scales}
    for scale, text in given.items():
        if text and text not in POINTS:
            raise UserError(f"{where}: {scale} is '{text}', but must be a whole number from {LOWEST} to {HIGHEST}")
    return {scale: POINTS[text] for scale, text in given.items() if text}


def read_all(paths: Sequence[Path], test: ListeningTest, captions: Mapping[str, Any]) -> list[Rating]:
    """The ratings of all files; a rater may stand in one file only, and rate a caption once."""
    owner: dict[str, Path] = {}
    ratings: list[Rating] = []
    for path in paths:
        own = read_ratings(path, test, captions)
        for rater in dict.fromkeys(rating.rater for rating in own):
            if rater in owner:
                raise UserError(
                    f"{path}: the rater '{rater}' stands in {owner[rater]} too; keep the newer file, or give one of "
                    "two people of that name another rater_id"
                )
            owner[rater] = path
        twice = [key for key, count in Counter((one.rater, one.caption) for one in own).items() if count > 1]
        if twice:
            raise UserError(f"{path}: the rater '{twice[0][0]}' rates the caption '{twice[0][1]}' twice; keep one line")
        ratings += own
    wanted = len(captions) * len(test.scales)
    for rater in owner:
        given = sum(len(rating.points) for rating in ratings if rating.rater == rater)
        if given < wanted:
            log.warning("%s: %d of %d ratings; they are used as far as they go", rater, given, wanted)
    return ratings


def scores(ratings: Iterable[Rating], test: ListeningTest, captions: Mapping[str, Any]) -> dict[str, Any]:
    """For each system and scale that were rated: value, low, high, items (clips) and raters.

    The value is the mean of the raters' means, or of the clips' means when the interval is over clips.
    """
    found: dict[tuple[str, str], dict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for rating in ratings:
        caption = captions[rating.caption]
        clip = f"{caption['corpus']}/{caption['clip_id']}"
        for scale, points in rating.points.items():
            for system in caption["systems"]:
                found[system, scale][rating.rater, clip].append(points)
    result: dict[str, Any] = {}
    for (system, scale), given in sorted(found.items()):
        groups: dict[str, list[int]] = defaultdict(list)
        for (rater, clip), values in given.items():
            groups[rater if test.interval == "rater" else clip] += values
        value, low, high = student([fmean(values) for values in groups.values()])
        raters, clips = ({pair[place] for pair in given} for place in (0, 1))
        about = {"value": value, "low": low, "high": high, "items": len(clips), "raters": len(raters)}
        result.setdefault(system, {})[scale] = about
    return result


def student(means: Sequence[float]) -> tuple[float, float | None, float | None]:
    """The mean of some means and the bounds of its Student interval; of a single one there is no interval."""
    from scipy.stats import t

    value, count = fmean(means), len(means)
    if count < 2:
        return value, None, None
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * stdev(means) / count**0.5
    return value, value - half, value + half


def collect_ratings(job: CollectRatings, output: Path) -> None:
    """Turns returned ratings into mean opinion scores with intervals; without ratings there are no scores."""
    captions = read_json(job.key).get("captions")
    if captions is None:
        raise UserError(f"{job.key}: has no captions, so it is not the key of a listening test")
    given = read_all(job.ratings, job.test, captions)
    log.info("%d raters, %d rated captions", len({rating.rater for rating in given}), len(given))
    with atomic(output) as temporary:
        temporary.write_text(json.dumps(scores(given, job.test, captions), indent=2) + "\n", encoding="utf-8")
