"""What the sweeps that are asked for cost, told before they start: they can cost more than all tables of a paper."""

import re
from collections.abc import Callable, Iterable, Iterator

from workflow_scripts.settings import papers
from workflow_scripts.settings.scale import Scale
from workflow_scripts.training import plan as training

TARGET = re.compile(r"results/(?P<scale>\w+)/(?P<paper>[\w.-]+)/sweep_(?P<sweep>[\w.-]+)\.(csv|md|png|svg)")


def told(targets: Iterable[str], scale_named: Callable[[str], Scale]) -> Iterator[str]:
    """A sentence for each sweep among the targets, and one for all if there are several.

    What is no sweep of a paper is passed over: Snakemake tells what cannot be made.
    """
    asked = [found.groupdict() for found in map(TARGET.search, targets) if found]
    minutes, known = 0.0, 0
    for one in {(one["scale"], one["paper"], one["sweep"]): one for one in asked}.values():
        scale = scale_named(one["scale"])
        if one["paper"] in scale.folders and one["sweep"] in scale.paper(one["paper"]).sweeps:
            sentence, cost = cost_of(scale, one["paper"], one["sweep"])
            minutes, known = minutes + cost, known + 1
            yield sentence
    if known > 1:
        yield f"{known} sweeps: {hours(minutes)} of training together"


def cost_of(scale: Scale, paper: str, sweep: str) -> tuple[str, float]:
    """What a sweep costs in words, and the minutes that its trainings take one after the other."""
    names = list(papers.swept(scale.paper(paper), sweep))
    groups = [training.seed_groups(scale, paper, name).values() for name in names]
    trainings, jobs = sum(len(seeds) for found in groups for seeds in found), sum(map(len, groups))
    seeds = len([seed for group in groups[0] for seed in group])
    each = training.minutes(scale, paper, names[0])
    gpus = training.gpus(scale, paper, names[0]) * training.declared(scale, paper, names[0]).cost.nodes
    devices = f", on {gpus} GPUs each" if gpus > 1 else ", on a GPU" if gpus else ""
    setting = scale.paper(paper).sweeps[sweep].setting
    return (
        f"sweep {sweep} of {paper} ({scale.name}): {len(names)} values of {setting} × {seeds} seeds = {trainings} "
        f"trainings in {jobs} jobs; at {each:g} minutes each {hours(trainings * each)}{devices}",
        trainings * each,
    )


def hours(minutes: float) -> str:
    """A length of time in words."""
    return f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{minutes:.0f} minutes"
