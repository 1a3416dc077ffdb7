"""Makes a virtual environment independent of where it lies, so that a project's folder may be moved and named freely.

    .venv/bin/python envs/relocatable.py

A program's first line names its Python by an absolute path, which ends at a space; `activate` names its folder.
"""

import re
import sys
import sysconfig
from pathlib import Path

BIN, PACKAGES = Path(sys.prefix, "bin"), Path(sysconfig.get_path("purelib"))
# To the shell the first line ends in its last command; to Python the two are a text.
START = b"""#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")"/python "$0" "$@"
' '''
"""
STARTS = re.compile(rb"#![^\n]*python[0-9.]*\n|#!/bin/sh\n'''exec' [^\n]*\n' '''\n")
ACTIVATE = 'VIRTUAL_ENV="$(cd -- "$(dirname -- "${BASH_SOURCE:-$0}")/.." && pwd)"'

for path in BIN.iterdir():
    if not path.is_symlink() and (start := STARTS.match(content := path.read_bytes())):
        path.write_bytes(START + content[start.end() :])
activate = BIN / "activate"
text = re.sub(r"^VIRTUAL_ENV=.*$", lambda _: ACTIVATE, activate.read_text(encoding="utf-8"), flags=re.MULTILINE)
activate.write_text(text, encoding="utf-8")
(PACKAGES / "encore.pth").write_text("../../../..\n")  # from the packages to the project
