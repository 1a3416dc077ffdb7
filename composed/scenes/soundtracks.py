"""Sources as sound only: `folder/sources/<name>.flac`.

FLAC loses nothing, its encoder gives the same bytes each time, and a section of it is cut to the sample.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from composed.processes import in_processes
from composed.scenes import scene as scenes
from composed.scenes.scene import Scene
from composed.scenes.sources import Source, SourceComposer
from composed.types import Assets
from workflow_scripts.progress import progress
from workflow_scripts.shards import atomic


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
    made = in_processes(maker, (composer, assets, folder), wanted, workers)
    return list(progress(made, "compose", len(wanted), "source"))


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
        with atomic(self.folder / "sources" / f"{source.id}.flac") as temporary:
            soundfile.write(temporary, scenes.waveform(scene), self.sample_rate, format="FLAC", subtype="PCM_16")
        return scene
