"""What holds for every composer, and for the place of this package beside the pipeline."""

import ast
import pkgutil
from pathlib import Path

import pytest

from composed import composers
from composed.composer import Composer
from workflow_scripts.errors import UserError
from workflow_scripts.settings.assets import Catalogue
from workflow_scripts.settings.plugins import plugin

ROOT = Path(__file__).parents[2]
NAMES = [module.name for module in pkgutil.iter_modules(composers.__path__)]


@pytest.mark.parametrize("name", NAMES)
def test_a_composer_needs_assets_of_the_catalogue_and_names_the_first_that_is_missing(
    name: str, tmp_path: Path
) -> None:
    composer = plugin("composed.composers", name, "test").check({}, "test")
    assert isinstance(composer, Composer)
    assert set(composer.assets) <= Catalogue.load(ROOT / "assets.yaml").assets.keys()
    for first in composer.assets[:1]:  # a composer of texts needs none
        with pytest.raises(UserError, match=f"the asset '{first}' is not given"):
            composer.compose({}, tmp_path, 1)


def test_the_pipeline_imports_nothing_from_here() -> None:
    for path in (ROOT / "workflow_scripts").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.partition(".")[0] == "composed" for name in named), path
