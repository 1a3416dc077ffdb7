"""A random forest over the members' scores, scored by how many of its trees vote for a class (yt8m_text, 3.1).

The paper names the 1000 trees and that their decisions are counted. A pair of a clip and a class is here one example,
its members' scores are the features, and only classes that some member ranks high are put before the trees.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from workflow_scripts.errors import UserError
from workflow_scripts.parquet import open_parquet
from workflow_scripts.training.systems.ensemble.members import Lists, Member, side_by_side
from workflow_scripts.training.systems.ensemble.settings import Forest


def fit(settings: Forest, features: np.ndarray, correct: np.ndarray, seed: int) -> Callable[[Lists, int], np.ndarray]:
    """A fitted forest as a function from lists to shares of votes (clips, classes).

    It learns from the scores of pairs (pairs, members), and whether each is correct (pairs,); with one seed it is
    always the same. Memory grows with the pairs and the trees, not with the clips.
    """
    from sklearn.ensemble import RandomForestClassifier

    threads = torch.get_num_threads()
    forest = RandomForestClassifier(
        settings.trees, min_samples_leaf=settings.min_samples_leaf, random_state=seed, n_jobs=threads
    ).fit(features, correct)

    def votes(lists: Lists, classes: int) -> np.ndarray:
        """The share of the trees that call a class correct; classes that are no candidates have 0.

        scikit-learn's own scores average the trees' probabilities; whole votes are what the paper counts.
        """
        clips, numbers, pairs = candidates(lists, settings.candidates, classes)

        def count(first: int) -> np.ndarray:
            trees = forest.estimators_[first::threads]
            return sum(forest.classes_[tree.predict(pairs, check_input=False).astype(int)] > 0 for tree in trees)

        with ThreadPoolExecutor(threads) as pool:
            total = sum(pool.map(count, range(threads)), np.zeros(len(pairs), np.float32))
        shares = np.zeros((len(lists[0][0]), classes), np.float32)
        shares[clips, numbers] = total / settings.trees
        return shares

    return votes


def training_pairs(
    settings: Forest, manifest: Path, members: Sequence[Member], places: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (pairs, members) and whether the class is right (pairs,), of at most `max_pairs` pairs.

    A clip has at least as many candidates as one member ranks: that bounds the clips to look at. Of their pairs as many
    as are wanted are drawn.
    """
    width = min(settings.candidates, members[0].read(places[:1])[0].shape[1])
    enough = -(-settings.max_pairs // width)
    if len(places) > enough:
        places = np.sort(random.choice(places, enough, replace=False))
    count = len(members[0].classes)
    labels = iter(labels_of(manifest, members[0].clip_ids.take(pa.array(places))))
    features, correct = [], []
    for part, lists in side_by_side(members, places):
        clips, numbers, pairs = candidates(lists, settings.candidates, count)
        true = np.zeros((len(part), count), bool)
        for place, own in zip(range(len(part)), labels, strict=False):
            true[place, own] = True
        features.append(pairs)
        correct.append(true[clips, numbers])
    scores, right = np.concatenate(features), np.concatenate(correct)
    if len(scores) > settings.max_pairs:
        kept = np.sort(random.choice(len(scores), settings.max_pairs, replace=False))
        scores, right = scores[kept], right[kept]
    return scores, right


def candidates(lists: Lists, best: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of a clip and a class that is among the `best` of some member: clips, classes, and scores.

    Scores are float32 (pairs, members); a class that a member does not list has 0 of it.
    """
    clips = np.arange(len(lists[0][0]))[:, None]
    chosen = np.zeros((len(clips), classes), bool)
    for numbers, _ in lists:
        chosen[clips, numbers[:, :best]] = True
    rows, columns = np.nonzero(chosen)
    pairs = np.empty((len(rows), len(lists)), np.float32)
    for member, (numbers, scores) in enumerate(lists):
        dense = np.zeros(chosen.shape, np.float32)
        dense[clips, numbers] = scores
        pairs[:, member] = dense[rows, columns]
    return rows, columns, pairs


def labels_of(manifest: Path, clip_ids: pa.Array) -> list[list[int]]:
    """The class numbers of some clips, by the manifest, in their order."""
    found: dict[str, list[str] | None] = {}
    with open_parquet(manifest) as file:
        for batch in file.iter_batches(65536, columns=["clip_id", "labels"]):
            mine = batch.filter(pc.is_in(batch["clip_id"], clip_ids)).to_pylist()
            found |= {row["clip_id"]: row["labels"] for row in mine}
    result = []
    for clip_id in clip_ids.to_pylist():
        labels = found.get(clip_id)
        if labels is None:
            raise UserError(f"{manifest}: clip '{clip_id}' has no labels for the forest to learn from")
        result.append([int(label) for label in labels])
    return result
