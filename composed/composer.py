"""What a composer is."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from composed.files import write_text
from composed.types import Assets, Seed
from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import Plugin, digest


class Composer(Plugin):
    """Makes a small corpus in the form of a real one, from its settings and catalogued assets.

    Its fields say what the corpus is like; all of them define it. `revision` is raised when other files come of the
    same settings.
    """

    notice: ClassVar[str]  # COMPOSED.md, with {seed}, {table} (its lines) and what else `write_notice` is given

    holds_out: ClassVar[bool] = False  # whether it writes held_out.txt, the videos of the train part that validate

    seed: Seed

    @property
    @abstractmethod
    def assets(self) -> tuple[str, ...]:
        """The assets, by their names in assets.yaml, that a corpus of these settings is made from."""

    def compose(self, assets: Assets, folder: Path, workers: int) -> None:
        """Writes the corpus into `folder`, in `workers` processes: the same bytes whatever their number.

        Raises `UserError` when an asset is missing or unfit, or a process is killed.
        """
        for name in self.assets:
            if name not in assets:
                raise UserError(f"the asset '{name}' is not given; add --asset {name}=PATH")
        self.write({name: assets[name] for name in self.assets}, folder, workers)

    @abstractmethod
    def write(self, assets: Assets, folder: Path, workers: int) -> None:
        """Writes media, the annotation files that the corpus's reader names, and at last the notice.

        `assets` are those of `self.assets`. Media lie in `folder/sources`, from where they are served.
        """

    def write_notice(self, folder: Path, table: Iterable[Sequence[object]], **about: object) -> None:
        """Writes COMPOSED.md, which says that the corpus is composed, and from what; it changes with the settings."""
        rows = "\n".join(f"| {' | '.join(map(str, row))} |" for row in table)
        text = self.notice.format(seed=self.seed, table=rows, **about)
        settings = f"The digest of its settings is {digest(self.identity())}."
        write_text(folder / "COMPOSED.md", f"{text.rstrip()}\n\n{settings}\n")
