"""Clips for sound event detection: the streams at one rate, and weak labels where there are any."""

import numpy as np

from workflow_scripts.errors import UserError
from workflow_scripts.features.align import align
from workflow_scripts.models.crnn import pooled_frames
from workflow_scripts.training.clips import load_clips, multi_hot, statistics
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.mean_teacher_sed.settings import System


class Data:
    """The clips of an experiment, and the places of those to validate with and to predict."""

    def __init__(self, system: System, job: TrainingJob) -> None:
        self.system = system
        self.training = list(system.optimisation.batch)
        splits = list(dict.fromkeys([*self.training, system.validation_split, *system.predict_splits]))
        self.clips = load_clips(job, system.streams, splits)
        self.counts, self.left_out = self.clips.counts, self.clips.left_out
        learned, self.validation = self.clips.of(self.training), self.clips.of([system.validation_split])
        self.predicted = self.clips.of(system.predict_splits)
        self.targets = multi_hot(self.clips.rows, system.classes)
        self.check_frames(job.clip_seconds)
        self.learned_from = self.clips.digest(np.concatenate([learned, self.validation]))

    def check_frames(self, clip_seconds: float) -> None:
        """Refuses settings whose frames disagree with the features or with the clips' length."""
        system = self.system
        spectral = system.network.spectral
        if spectral is not None:
            given = self.clips.features[spectral].shape[0]
            left = pooled_frames(given, system.network.pools)
            if left != system.frames:
                raise UserError(f"'frames' is {system.frames}, but the pools leave {left} of {given} of '{spectral}'")
        covered = system.frames * system.frame_seconds
        if abs(covered - clip_seconds) > 0.05 * clip_seconds:
            raise UserError(
                f"{system.frames} frames of {system.frame_seconds} s ('frame_seconds') cover {covered:.2f} s, "
                f"but clips have {clip_seconds} s"
            )

    def features(self, name: str, places: np.ndarray) -> np.ndarray:
        """One stream of some clips (clips, frames, dimensions) in its stored dtype; a projected one is aligned."""
        return aligned(self.system, name, self.clips.features[name][places])

    def statistics(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of each dimension of a stream over the training clips."""
        return statistics(self.features(name, np.array([place]))[0] for place in self.clips.of(self.training))

    def block(self, places: np.ndarray) -> Block:
        """All streams of some clips, and their `targets` (clips, classes)."""
        streams = {name: self.features(name, places) for name in self.clips.features}
        return {"targets": self.targets[places], **streams}


def aligned(system: System, name: str, stored: np.ndarray) -> np.ndarray:
    """A stream (clips, frames, dimensions) at the rate at which the network reads it: a projected one at its own."""
    return align(stored, system.frames) if name in system.network.projections else stored
