"""Sources as sound only: `folder/sources/<name>.flac`.

FLAC loses nothing, its encoder gives the same bytes each time, and a section of it is cut to the sample.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from composed.processes import in_processes
from composed.scenes import scene as scenes
from composed.scenes.scene import Scene
from composed.scenes.sources import Source, SourceComposer
from composed.types import Assets
from workflow_scripts.errors import room_in
from workflow_scripts.progress import progress


def write_sources(
    maker: Callable[..., Any],
    composer: SourceComposer,
    wanted: Sequence[Source],
    assets: Assets,
    folder: Path,
    workers: int,
) -> list[Any]:
    """What makers (`SoundtrackMaker` or one of its kind) make of the `wanted` sources, in place of any others."""
    for old in ("sources", "recipes"):
        shutil.rmtree(folder / old, ignore_errors=True)
    with room_in(folder):
        made = in_processes(maker, (composer, assets, folder), wanted, workers)
        done = list(progress(made, "compose", len(wanted), "source"))
    os.sync()  # of a thousand files: one by one takes longer than to compose them
    return done


class SoundtrackMaker:
    """Writes one source after another."""

    def __init__(self, composer: SourceComposer, assets: Assets, folder: Path) -> None:
        from composed.sounds.bank import SAMPLE_RATE, SoundBank

        self.composer, self.folder, self.sample_rate = composer, folder, SAMPLE_RATE
        self.bank = SoundBank(assets, composer.splits, composer.seed)
        self.bank.load(composer.sounding())

    def make(self, source: Source) -> Any:
        """Composes a source, whatever was composed before it."""
        self.record(source)

    def record(self, source: Source) -> Scene:
        """The scene of a source, which is written as 16-bit FLAC."""
        import soundfile

        scene = self.composer.scene(self.bank, self.sample_rate, source, self.composer.generator(source, 1))
        path = self.place("sources", f"{source.id}.flac")
        soundfile.write(path, scenes.waveform(scene), self.sample_rate, format="FLAC", subtype="PCM_16")
        return scene

    def place(self, kind: str, name: str) -> Path:
        """The path of a file about a source, in a folder that is there."""
        path = self.folder / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
