"""What a language model that rewrites captions costs: one job, its own memory, a GPU that is large enough."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from language_models import CAPTION, untrained

from workflow_scripts.captions.backends import transformers
from workflow_scripts.captions.plan import RewriteCaptions
from workflow_scripts.captions.settings import Temporal
from workflow_scripts.corpora.annotate import MANIFEST
from workflow_scripts.errors import UserError
from workflow_scripts.features import plan as features
from workflow_scripts.plan.resources import asks
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.shards import read, write

ROOT = Path(__file__).parent.parent
FEATURES = ("clotho_temporal", "audiocaps_temporal")


def scale(name: str, **config: Any) -> Scale:
    return Scale(ROOT, Config(papers=["temp4cap"], **config), name)


@pytest.mark.parametrize("feature", FEATURES)
def test_one_job_asks_the_model_for_all_captions(feature: str) -> None:
    """64 shards of sounds, and one of captions, in which all clips are."""
    full = scale("full")
    assert [path.name for path in features.feature_shards(full, "temp4cap", feature)] == ["0.parquet"]
    job = features.extract_features(full, "temp4cap", feature, "0")
    assert isinstance(job, RewriteCaptions) and (job.shard, job.shards) == (0, 1)
    sounds = features.feature_shards(full, "temp4cap", feature.replace("temporal", "sound"))
    assert len(sounds) == full.corpus(features.feature_corpus(full, "temp4cap", feature)).shards > 1


@pytest.mark.parametrize("feature", FEATURES)
def test_a_features_cost_goes_before_the_stages(feature: str) -> None:
    """The model's memory is asked for by its own feature only, and that of a GPU only where there is to be one."""
    full, wildcards = scale("full"), {"paper": "temp4cap", "feature": feature}
    first, second = (asks(full, "features", wildcards, attempt) for attempt in (1, 2))
    assert (first["gpu"], first["gpu_mb"]) == (1, 40_000)
    assert (
        (first["mem_mb"], first["runtime"]) == (40_000, 600)
        and second["runtime"] == 1200
        and second["gpu_mb"] == 40_000
    )
    other = asks(full, "features", wildcards | {"feature": feature.replace("temporal", "sound")}, 1)
    assert (other["gpu_mb"], other["runtime"]) == (None, full.stages.features.runtime)
    for where in (scale("full", device="cpu"), scale("mini")):
        found = asks(where, "features", wildcards, 1)
        assert (found["gpu"], found["gpu_mb"]) == (0, None)
    assert asks(scale("mini"), "features", wildcards, 1)["runtime"] == scale("mini").stages.features.runtime


def test_the_job_says_what_its_gpu_must_have_and_obeys_the_device() -> None:
    job = features.extract_features(scale("full", device="cpu"), "temp4cap", FEATURES[0], "0")
    other = features.extract_features(scale("full"), "temp4cap", FEATURES[0], "0")
    assert isinstance(job, RewriteCaptions) and (job.device, job.gpu_mb) == ("cpu", 40_000)
    assert job.digest() == other.digest(), "where captions are rewritten defines no result"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """An untrained model in bfloat16."""
    model, tokenizer = untrained()
    model.to(torch.bfloat16).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def rewriting(folder: Path, model: Path, **changes: Any) -> RewriteCaptions:
    clip = {"clip_id": "a", "link": "", "start": 0.0, "split": "train", "captions": [CAPTION], "status": "ok"}
    write(folder / "manifest.parquet", [clip], MANIFEST)
    backend = {"kind": "transformers", "model": str(model), "max_events": 2, "max_tokens": 24}
    return RewriteCaptions(
        manifest=folder / "manifest.parquet",
        temporal={"backend": backend, "fallback_limit": None},
        answers=folder / "store",
        **changes,
    )


def test_a_model_keeps_its_precision_and_goes_straight_to_the_device(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No float32 copy of weights that are stored in half of it, and none in this machine's memory first."""
    from transformers import AutoModelForCausalLM

    asked: dict[str, Any] = {}
    real = AutoModelForCausalLM.from_pretrained

    def from_pretrained(*arguments: Any, **options: Any) -> Any:
        asked.update(options)
        return real(*arguments, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_pretrained)
    loaded = transformers.Backend(kind="transformers", model=str(saved)).load("mention", {}, "cpu")
    assert {parameter.dtype for parameter in loaded._model.parameters()} == {torch.bfloat16}
    assert asked["device_map"] == {"": "cpu"}
    rewriting(tmp_path, saved).run(tmp_path / "0.parquet")
    assert [row["status"] for row in read(tmp_path / "0.parquet")] == ["ok"]


def test_a_device_that_is_not_there_is_told(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="device cuda: there is no usable GPU"):
        rewriting(tmp_path, saved, device="cuda").run(tmp_path / "0.parquet")


def test_a_gpu_that_is_too_small_is_told_before_anything_is_loaded(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = type("Properties", (), {"total_memory": 24_000_000_000})()
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: small)
    monkeypatch.setattr(transformers.Backend, "load", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(UserError, match=r"the GPU has 24000 MB, and the job needs 40000 \(`gpu_mb`"):
        rewriting(tmp_path, saved, gpu_mb=40_000).run(tmp_path / "0.parquet")


def test_the_cost_is_no_part_of_what_is_made(tmp_path: Path, saved: Path) -> None:
    one, other = (rewriting(tmp_path, saved, gpu_mb=gpu_mb) for gpu_mb in (None, 40_000))
    assert one.digest() == other.digest()
    assert "gpu_mb" not in json.dumps(one.identity())


def test_rules_take_no_gpu(tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that none is kept from a job that needs it."""
    monkeypatch.setattr("workflow_scripts.captions.rewrite.prepared", lambda *_, **__: pytest.fail("a GPU was taken"))
    job = rewriting(tmp_path, saved).model_copy(update={"temporal": Temporal.check({}, "test")})
    job.run(tmp_path / "0.parquet")
    assert [row["source"] for row in read(tmp_path / "0.parquet")] == ["rules"]
