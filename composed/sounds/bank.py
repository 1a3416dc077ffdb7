"""The bank of sounds that composed scenes are made of: recordings cut into events, synthesis, synthetic speech.

Splits never share a segment of a recording, a voice, or a draw of a synthesis parameter: segments and voices are
dealt to the splits, and parameters are drawn from continuous distributions by a random stream of each split.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from composed.sounds import alarms, animals, bells, kitchen, machines, recordings, speech, water
from composed.sounds.recordings import Segment
from composed.sounds.synthesis import bump, noise, noise_frequencies, tilt
from composed.sounds.waveforms import SAMPLE_RATE, peak, samples, times, trimmed
from composed.types import Waveform
from workflow_scripts.errors import UserError, did_you_mean

__all__ = ["SAMPLE_RATE", "SoundBank"]

WATER = "recorded_water"
VOICES_A_SPLIT = 6
DEFAULT_SECONDS = (1.5, 4.0)
RECORDED_WATER = 0.35  # share of the water that is recorded

SYNTHESISED: dict[str, Callable[[np.random.Generator, float], Waveform]] = {
    "Alarm_bell_ringing": alarms.alarm,
    "Blender": machines.blender,
    "Cat": animals.meows,
    "Dishes": kitchen.dishes,
    "Electric_shaver_toothbrush": machines.shaver_or_toothbrush,
    "Frying": kitchen.frying,
    "Vacuum_cleaner": machines.vacuum_cleaner,
    "bell": bells.church_bell,
    "gong": bells.gong,
    "rain": water.rain,
}
# Recordings of single calls: asset, and how many decibels below the loudest frame a call ends.
CALLS = {
    "Dog": ("dog_recording", 26),
    "cow": ("cow_recording", 26),
    "horse": ("horse_recording", 26),
    "owl": ("owl_recording", 18),
    "pig": ("pig_recording", 26),
    "rooster": ("rooster_recording", 26),
    "sheep": ("sheep_recording", 26),
}
# Recordings that go on: asset. Splits get stretches of time.
CONTINUOUS = {
    WATER: "water_recording",
    "duck": "duck_recording",
    "frog": "frog_recording",
    "rainforest": "rainforest_recording",
    "train": "train_recording",
}
COMPOSED = ("Running_water", "Speech")


class SoundBank:
    """Draws events of named sounds for the splits of a corpus.

    `assets` holds recordings by asset id and is read when a sound first needs it; then `UserError` is raised if the
    recording is missing or too short to be shared out. Everything follows from `seed` and the generators given.
    """

    def __init__(self, assets: dict[str, Path], splits: Sequence[str], seed: int) -> None:
        self.assets, self.splits, self.seed = assets, list(splits), seed
        self.recording = cache(self._recording)
        self.segments = cache(self._segments)
        self.voices = cache(self._voices)

    @property
    def names(self) -> list[str]:
        """All sounds."""
        return sorted([*SYNTHESISED, *CALLS, *CONTINUOUS, *COMPOSED])

    def load(self, sounds: Iterable[str]) -> None:
        """Reads and speaks what these sounds need, before processes are forked that share it."""
        for sound in sounds:
            if sound in CALLS or sound in CONTINUOUS:
                self.segments(sound)
            elif sound == "Running_water":
                self.segments(WATER)
            elif sound == "Speech":
                for split in self.splits:
                    self.voices(split)

    def draw(self, sound: str, split: str, rng: np.random.Generator, seconds: float | None = None) -> Waveform:
        """One event as float32 mono at 32 kHz with a peak of 1; it fills the array from its onset to its offset.

        Sustained sounds last `seconds`; calls, strokes and sentences have their own length and come near it.
        """
        stream = self._stream(split, rng)
        length = stream.uniform(*DEFAULT_SECONDS) if seconds is None else seconds
        if sound in SYNTHESISED:
            audio = SYNTHESISED[sound](stream, length)
        elif sound in CALLS:
            audio = animals.calls(self.recording(CALLS[sound][0]), self.segments(sound)[split], stream, length)
        elif sound in CONTINUOUS:
            audio = recordings.stretch(self.recording(CONTINUOUS[sound]), self.segments(sound)[split], length, stream)
        elif sound == "Running_water":
            recorded = stream.random() < RECORDED_WATER
            audio = self.draw(WATER, split, stream, length) if recorded else water.running_water(stream, length)
        elif sound == "Speech":
            voices = self.voices(split)
            audio = speech.excerpt(voices[stream.integers(len(voices))], length, stream)
        else:
            raise UserError(f"the sound '{sound}' is not in the sound bank{did_you_mean(sound, self.names)}")
        return peak(trimmed(audio))

    def background(self, split: str, rng: np.random.Generator, seconds: float) -> Waveform:
        """A quiet room: noise between pink and brown with a little mains hum, at a level of about -46 dB."""
        stream = self._stream(split, rng)
        count = samples(seconds)
        frequencies = noise_frequencies(count)
        gain = tilt(frequencies, stream.uniform(-6, -3), 60) * (1 + stream.uniform(0, 1) * bump(frequencies, 400, 1))
        gain[frequencies < 40] = 0
        hum = stream.uniform(0, 0.3) * np.sin(2 * np.pi * stream.uniform(99, 101) * times(count))
        return (0.005 * (noise(stream, count, gain) + hum)).astype(np.float32)

    def _stream(self, split: str, rng: np.random.Generator) -> np.random.Generator:
        """The split's own random numbers for one draw: equal states of `rng` never make equal draws in two splits."""
        if split not in self.splits:
            raise UserError(f"the split '{split}' is not one of the sound bank's{did_you_mean(split, self.splits)}")
        return np.random.default_rng([self.seed, self.splits.index(split), int(rng.integers(2**63))])

    def _recording(self, asset: str) -> Waveform:
        """The recording of an asset, mono at 32 kHz."""
        if asset not in self.assets:
            raise UserError(f"the asset '{asset}' is not given; add --asset {asset}=PATH")
        return recordings.read(self.assets[asset])

    def _segments(self, sound: str) -> dict[str, list[Segment]]:
        """The stretches of the sound's recording by split, none of them shared."""
        if sound in CONTINUOUS:
            return recordings.ranges(self.recording(CONTINUOUS[sound]), self.splits)
        asset, below_peak = CALLS[sound]
        dealt = recordings.deal(recordings.events(self.recording(asset), below_peak), self.splits)
        if not dealt:
            raise UserError(
                f"the recording of '{sound}' is too short for the {len(self.splits)} splits {', '.join(self.splits)}; "
                "take another sound or fewer splits"
            )
        return dealt

    def _voices(self, split: str) -> list[list[Waveform]]:
        """The sentences of each of the split's speakers."""
        speakers = speech.speakers(self.splits, VOICES_A_SPLIT, self.seed)[split]
        return speech.spoken(speakers, self.seed)
