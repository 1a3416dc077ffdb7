"""Files named on a command line, `--asset id=path`."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from workflow_scripts.errors import UserError


def parse(arguments: Iterable[str]) -> dict[str, Path]:
    """The files by asset id; a malformed argument or a missing file is a `UserError`."""
    files = {}
    for argument in arguments:
        asset, separator, path = argument.partition("=")
        if not separator:
            raise UserError(f"--asset {argument}: write it as id=path")
        if not Path(path).exists():
            raise UserError(f"--asset {asset}: {path} does not exist; fetch it with `snakemake {path}`")
        files[asset] = Path(path)
    return files


def needed(files: Mapping[str, Path], names: Iterable[str], who: str, option: str = "--asset") -> dict[str, Path]:
    """Of the files by name those that `who` needs; one that is not given is a `UserError`."""
    for name in names:
        if name not in files:
            raise UserError(f"{who} needs a file: give {option} {name}=PATH")
    return {name: files[name] for name in names}
