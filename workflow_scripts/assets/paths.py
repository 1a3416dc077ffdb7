"""Asset files named on a command line, `--asset id=path`."""

from collections.abc import Iterable
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
