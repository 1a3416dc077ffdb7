"""One job of sound event detection: all seeds of an experiment, from features to result files."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.features.align import align
from workflow_scripts.models.crnn import CRNN, parameter_count, pooled_frames
from workflow_scripts.progress import progress
from workflow_scripts.shards import Row
from workflow_scripts.training.arithmetic import refuse_infinite
from workflow_scripts.training.checkpoints import load, run_key, save
from workflow_scripts.training.data import Inputs, ahead, load_clips, multi_hot, statistics
from workflow_scripts.training.mean_teacher import MeanTeacher
from workflow_scripts.training.outputs import prediction_schema, write_history, write_weights
from workflow_scripts.training.sampling import Reshuffled
from workflow_scripts.training.schedules import average_decay, ramped_decay
from workflow_scripts.training.sed_settings import Settings
from workflow_scripts.training.stopping import stop_signal, stopped


class Job:
    """The clips of an experiment in memory, and the seeds trained on them one after the other."""

    def __init__(self, system: Settings, inputs: Inputs, *, checkpoints: Path, device: str, precision: str) -> None:
        self.system, self.checkpoints, self.precision = system, checkpoints, precision
        self.device = torch.device(device)
        training = list(system.optimisation.batch)
        splits = list(dict.fromkeys([*training, system.validation_split, *system.predict_splits]))
        self.clips = load_clips(inputs, system.streams, splits)
        self.training, self.validation = self.clips.of(training), self.clips.of([system.validation_split])
        self.predicted = self.clips.of(system.predict_splits)
        self.targets = multi_hot(self.clips.rows, system.classes)
        self.check_frames(inputs.clip_seconds)
        for name in system.network.projections:
            if self.clips.features[name].shape[1] != system.frames:
                self.clips.features[name] = align(self.clips.features[name], system.frames)
        self.digest = self.clips.digest(np.concatenate([self.training, self.validation]))

    def check_frames(self, clip_seconds: float) -> None:
        """Refuses settings whose frames disagree with the features or with the clips' length."""
        system = self.system
        spectral = system.network.spectral
        if spectral is not None:
            given = self.clips.features[spectral].shape[1]
            left = pooled_frames(given, system.network.pools)
            if left != system.frames:
                raise UserError(f"'frames' is {system.frames}, but the pools leave {left} of {given} of '{spectral}'")
        covered = system.frames * system.frame_seconds
        if abs(covered - clip_seconds) > 0.05 * clip_seconds:
            raise UserError(
                f"{system.frames} frames of {system.frame_seconds} s ('frame_seconds') cover {covered:.2f} s, "
                f"but clips have {clip_seconds} s"
            )

    def run(self, seeds: list[int], folder: Path) -> dict[str, Any]:
        """Trains the seeds, then writes predictions, history and weights; returns facts for params.json."""
        runs = {seed: self.train(seed, folder) for seed in seeds}
        schema = prediction_schema(self.system.classes, self.system.frames, self.system.frame_seconds)
        predictions = (row for seed in seeds for row in self.prediction_rows(seed, runs[seed][0], schema))
        shards.write(folder / "predictions.parquet", predictions, schema)
        write_history(folder / "history.parquet", (row for _, history in runs.values() for row in history))
        write_weights(folder / "weights.safetensors", {seed: model for seed, (model, _) in runs.items()})
        parameters = parameter_count(runs[seeds[0]][0])
        return {"parameters": parameters, "clips": self.clips.counts(), "left_out": self.clips.left_out}

    def build(self) -> CRNN:
        """A network with fresh weights and the training clips' statistics."""
        features = self.clips.features
        try:
            model = self.system.build({name: values.shape[2] for name, values in features.items()})
        except ValueError as error:
            raise UserError(f"network: {error}") from None
        for name, scale in model.standardise.items():
            mean, deviation = statistics(features[name], self.training)
            scale.load_state_dict({"mean": torch.from_numpy(mean), "deviation": torch.from_numpy(deviation)})
        return model

    def train(self, seed: int, folder: Path) -> tuple[CRNN, list[Row]]:
        """The student after the last step, and the run's history; goes on from the run's checkpoint."""
        settings = self.system.optimisation
        path = self.checkpoint_path(seed)
        torch.manual_seed(seed)
        student = self.build()
        run = MeanTeacher(
            student,
            betas=settings.betas,
            weight=settings.consistency_weight,
            device=self.device,
            precision=self.precision,
        )
        start, history = 0, []
        if state := load(path, self.device):
            start, history = state["step"], state["history"]
            run.restore(state["run"])
        steps = progress(range(start, settings.steps), f"seed {seed}", unit="step")
        with stop_signal() as stopping:
            for step, (features, targets) in zip(steps, ahead(self.batches(seed, start)), strict=False):
                rate = ramped_decay(step, settings.peak_rate, settings.ramp_steps, settings.decay)
                decay = average_decay(step, settings.teacher_decay)
                losses = run.step(self.on_device(features), targets.to(self.device), rate, decay)
                done, last = step + 1, step + 1 == settings.steps
                record: Row = {}
                if done % self.system.record_every == 0 or last:
                    record = {name: float(value) for name, value in asdict(losses).items()} | {"rate": rate}
                    refuse_infinite(record["loss"], f"{folder}: seed {seed}, step {done}", "peak_rate")
                if done % self.system.validate_every == 0 or last:
                    record["validation_f1"] = self.validation_f1(student)
                if record:
                    history.append({"seed": seed, "step": done} | record)
                number = stopping()
                if done % self.system.checkpoint_every == 0 or last or number:
                    save(path, {"step": done, "history": history, "run": run.state()})
                if number:
                    raise stopped(number, done, seed)
        return student, history

    def checkpoint_path(self, seed: int) -> Path:
        """Where a run's checkpoint lies: the name is a hash of all that defines the run."""
        definition = self.system.model_dump(mode="json")
        parts = {"revision": self.system.revision, "data": self.digest, "precision": self.precision, "seed": seed}
        return self.checkpoints / f"{run_key(definition=definition, **parts)}.pt"

    def batches(self, seed: int, start: int) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        """The features and targets of every step from `start` on, still off the device."""
        sizes = self.system.optimisation.batch
        samplers = [Reshuffled(self.clips.of([split]), size, seed, split) for split, size in sizes.items()]
        for step in range(start, self.system.optimisation.steps):
            places = np.concatenate([sampler.batch(step) for sampler in samplers])
            yield self.gather(places), torch.from_numpy(self.targets[places])

    def gather(self, places: np.ndarray) -> dict[str, torch.Tensor]:
        """The streams of some clips in their stored dtype."""
        return {name: torch.from_numpy(values[places]) for name, values in self.clips.features.items()}

    def on_device(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Features moved to the device and made float32 there."""
        return {name: values.to(self.device).float() for name, values in features.items()}

    def predict(self, model: CRNN, places: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Place, clip probabilities (classes,) and frame probabilities (frames, classes) of each clip."""
        was_training = model.training
        model.eval()
        size = sum(self.system.optimisation.batch.values())
        with torch.inference_mode():
            for start in range(0, len(places), size):
                part = places[start : start + size]
                clips, frames = model(self.on_device(self.gather(part)))
                yield from zip(part, clips.cpu().numpy(), frames.cpu().numpy(), strict=True)
        model.train(was_training)

    def validation_f1(self, model: CRNN) -> float:
        """Micro F1 of the clip probabilities above 0.5 over the validation clips."""
        decided = np.stack([clip for _, clip, _ in self.predict(model, self.validation)]) > 0.5
        true = self.targets[self.validation] > 0.5
        return 2 * float((decided & true).sum()) / max(float(decided.sum() + true.sum()), 1.0)

    def prediction_rows(self, seed: int, model: CRNN, schema: Any) -> Iterator[Row]:
        """The rows of the predictions file for one seed."""
        clip_field, frame_field = schema.field("clip"), schema.field("frames")
        for place, clip, frames in self.predict(model, self.predicted):
            row = self.clips.rows[place]
            yield {
                "seed": seed,
                "clip_id": row["clip_id"],
                "split": row["split"],
                "seconds": self.clips.seconds[place],
                "clip": shards.pack(clip, clip_field),
                "frames": shards.pack(frames, frame_field),
            }
