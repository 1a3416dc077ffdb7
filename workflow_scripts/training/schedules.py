"""Values that change with the training step, counted from 0."""

import math


def ramped_decay(step: int, peak: float, ramp_steps: int, decay: float) -> float:
    """A learning rate that rises as exp(-5 (1 - step/ramp)^2) to `peak`, then shrinks by `decay` a step.

    Boes & Van hamme 2021, section 4.3.1; the shape of the rise is that of Laine & Aila, "Temporal ensembling", 2017.
    """
    if step < ramp_steps:
        return peak * math.exp(-5 * (1 - step / ramp_steps) ** 2)
    return float(peak * decay ** (step - ramp_steps))


def average_decay(step: int, limit: float) -> float:
    """The decay of an exponential moving average that begins as a plain mean: min(1 - 1/(step + 1), limit).

    Tarvainen & Valpola, "Mean teachers are better role models", 2017, in their released code.
    """
    return min(1 - 1 / (step + 1), limit)


def warmed_cosine(step: int, steps: int, warm_up: float) -> float:
    """The share of the peak: a linear rise over the share `warm_up` of all steps, then half a cosine towards 0.

    Loshchilov & Hutter, "SGDR", 2017, without restarts.
    """
    rise = round(warm_up * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))
