"""Features of captions and of the sounds that they tell of: temporal captions and their statistics, maps, log-mel."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from workflow_scripts.captions.plan import RewriteCaptions
from workflow_scripts.captions.rewrite import SCHEMA
from workflow_scripts.corpora.annotate import MANIFEST
from workflow_scripts.errors import UserError
from workflow_scripts.features import plan as features
from workflow_scripts.features.extractors import panns_log_mel, temporal_captions, yamnet_map
from workflow_scripts.features.reducers import temporal_statistics
from workflow_scripts.models.panns import BANDS, HOP, LogMel
from workflow_scripts.models.yamnet import Yamnet
from workflow_scripts.plan.downloads import downloads
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.shards import write

ROOT = Path(__file__).parent.parent
torch.set_num_threads(1)


# ---- temporal captions


def test_the_extractor_has_the_settings_of_the_job() -> None:
    """What the plan hands over is what the job understands; a model in an asset is an asset of the extractor."""
    backend = {"kind": "transformers", "asset": "small", "limit": 40, "max_events": 4}
    extractor = temporal_captions.Extractor.check({"backend": backend, "fallback_limit": None}, "test")
    assert extractor.source == "captions"
    assert extractor.assets == ("small",)
    assert RewriteCaptions(manifest="m.parquet", temporal=extractor, answers="answers").temporal == extractor
    assert temporal_captions.Extractor().assets == ()
    assert temporal_captions.Extractor.check({"backend": backend | {"asset": None, "model": "x"}}, "test").assets == ()
    assert extractor.hub_models == {}
    with pytest.raises(UserError, match="did you mean 'ties'"):
        temporal_captions.Extractor.check({"tise": "mention"}, "test")


@pytest.mark.parametrize("model", ["folder", "./folder", "/some/folder", "owner/folder", "~/owner/folder"])
def test_a_model_in_a_folder_is_not_fetched(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `owner/name`, where there is no such folder, is a model on the hub."""
    backend = {"kind": "transformers", "model": model, "commit": "v1"}
    extractor = temporal_captions.Extractor.check({"backend": backend}, "test")
    assert extractor.hub_models == ({model: "v1"} if model == "owner/folder" else {})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "folder").mkdir(parents=True)
    assert extractor.hub_models == {}
    with pytest.raises(UserError, match="commit"):
        temporal_captions.Extractor.check({"backend": backend | {"commit": "../v1"}}, "test")


@pytest.mark.parametrize("feature", ["clotho_temporal", "audiocaps_temporal"])
def test_a_model_on_the_hub_is_an_input(feature: str) -> None:
    """At full scale the model is fetched before captions are rewritten, at others there is none to be fetched."""
    full, mini = (Scale(ROOT, Config(papers=["temp4cap"]), name) for name in ("full", "mini"))
    ((name, revision),) = features.extractor(full, "temp4cap", feature).hub_models.items()
    marker = f"work/models/{name.replace('/', '--')}/{revision}/fetched.json"
    job = features.extract_features(full, "temp4cap", feature, "0")
    assert isinstance(job, RewriteCaptions)
    assert job.models == {name: Path(marker)}
    assert job.inputs()["models"] == [marker]
    assert marker in map(str, downloads(full))
    made = features.extract_features(mini, "temp4cap", feature, "0")
    assert made.inputs()["models"] == []
    assert not any("/models/" in str(path) for path in downloads(mini))


def test_planning_imports_no_heavy_library() -> None:
    modules = [f"features.extractors.{name}" for name in ("temporal_captions", "yamnet_map", "panns_log_mel")]
    modules += ["features.reducers.temporal_statistics", "corpora.readers.clotho", "corpora.readers.audiocaps"]
    imports = "; ".join(f"import workflow_scripts.{name}" for name in modules)
    heavy = "torch librosa transformers torchaudio pycocoevalcap requests"
    check = f"import sys; {imports}; print([m for m in '{heavy}'.split() if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


# ---- statistics


def manifest(path: Path, *clips: tuple[str, list[str], list[str | None] | None]) -> Path:
    """A manifest of training clips: id, captions and true temporal captions."""
    rows = [
        {"clip_id": name, "link": "", "start": 0.0, "split": "train", "captions": said, "temporal": true}
        | {"status": "ok"}
        for name, said, true in clips
    ]
    write(path, rows, MANIFEST)
    return path


CLIPS: list[tuple[str, list[str], list[str | None] | None]] = [
    ("a", ["A dog barks, then a man speaks"], ["dog barks: 1; man speaks: 2"]),
    ("b", ["A dog barks as a cat meows", "A cow moos"], ["cat meows: 1; dog barks: 1", None]),
    ("c", ["A bell rings"], None),
    ("d", ["A pig oinks, then a duck quacks"], ["pig oinks: 1; duck quacks: 2"]),
]


def shards(folder: Path, *rows: tuple[str, int, str, str], backend: str = "transformers") -> list[Path]:
    """One shard a row (clip, place of the caption, temporal caption, source), and one of a clip without captions."""
    said = {(name, place): text for name, captions, _ in CLIPS for place, text in enumerate(captions)}
    schema = SCHEMA.with_metadata({"backend": backend, "ties": "mention"})
    paths = []
    for clip, place, temporal, source in rows:
        items = [part.rpartition(": ")[2] for part in temporal.split("; ")]
        row = {"clip_id": clip, "caption_index": place, "caption": said[clip, place], "temporal": temporal}
        row |= {"source": source, "events": len(items), "orders": len(set(items) - {"background"}), "status": "ok"}
        paths.append(folder / f"{len(paths)}.parquet")
        write(paths[-1], [row], schema)
    paths.append(folder / "none.parquet")
    write(paths[-1], [{"clip_id": "e", "status": "failed", "reason": "no_text"}], schema)
    return paths


def statistics(folder: Path, paths: list[Path]) -> dict[str, Any]:
    output = folder / "out.json"
    temporal_statistics.Reducer().reduce(paths, manifest(folder / "m.parquet", *CLIPS), {}, output)
    return dict(json.loads(output.read_text()))


def test_statistics_of_a_model(tmp_path: Path) -> None:
    """Shares by source; what was not asked for is no fallback; the rules are compared on the model's captions only."""
    found = statistics(
        tmp_path,
        shards(
            tmp_path,
            ("a", 0, "a dog barks: 1; man speaks: 2", "llm"),
            ("b", 0, "dog barks: 1; cat meows: 2", "retry"),
            ("b", 1, "cow moos: 1", "rules"),
            ("c", 0, "bell rings: 1", "llm"),
            ("d", 0, "pig oinks: 1; duck quacks: 2", "unasked"),
        ),
    )
    assert (found["captions"], found["clips"], found["asked"]) == (5, 4, 4)
    assert found["sources"] == {
        "llm": 0.4,
        "retry": 0.2,
        "precomputed": 0,
        "rules": 0.2,
        "unasked": 0.2,
        "fallback": 0,
    }
    assert found["fallback"] == 0.25
    assert (found["several_events"], found["several_orders"]) == (0.6, 0.6)
    assert found["by_source"]["llm"] == {"several_events": 0.5, "several_orders": 0.5}
    assert found["by_source"]["precomputed"] == {"several_events": None, "several_orders": None}
    assert found["exact"] == {"llm": 0.5, "rules": 1.0, "llm_n": 2, "rules_n": 2}


def test_statistics_of_the_rules(tmp_path: Path) -> None:
    """The rules are the backend: only what defeated them is a fallback, and all they made is compared."""
    found = statistics(
        tmp_path,
        shards(
            tmp_path,
            ("a", 0, "dog barks: 1; man speaks: 2", "rules"),
            ("b", 0, "cat meows: background; dog barks: 1", "rules"),
            ("d", 0, "pig oinks then a duck quacks: 1", "fallback"),
            backend="rules",
        ),
    )
    assert found["fallback"] == pytest.approx(1 / 3)
    assert found["several_events"] == pytest.approx(2 / 3)
    assert found["several_orders"] == pytest.approx(1 / 3)
    assert found["exact"] == {"llm": None, "rules": 1.0, "llm_n": 0, "rules_n": 3}


def test_statistics_of_nothing(tmp_path: Path) -> None:
    found = statistics(tmp_path, shards(tmp_path))
    assert (found["captions"], found["asked"], found["fallback"], found["several_events"]) == (0, 0, None, None)
    assert found["exact"]["llm"] is None


def test_the_job_writes_what_the_statistics_read(tmp_path: Path) -> None:
    """From manifest to statistics, by the rules; inverted captions are true, too."""
    clip = ("x", ["A man speaks after a dog barks", "Rain"], ["dog barks: 1; man speaks: 2", "rain: 1"])
    path = manifest(tmp_path / "m.parquet", clip)
    RewriteCaptions(manifest=path, temporal={}, answers=tmp_path / "answers").run(tmp_path / "0.parquet")
    temporal_statistics.Reducer().reduce([tmp_path / "0.parquet"], path, {}, tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert (found["captions"], found["sources"]["rules"], found["several_orders"]) == (2, 1, 0.5)
    assert found["exact"] == {"llm": None, "rules": 1.0, "llm_n": 0, "rules_n": 2}


def test_other_shards_are_named(tmp_path: Path) -> None:
    """Shards of another feature, of different settings, and a manifest without truth: one sentence each."""
    made = shards(tmp_path, ("c", 0, "bell rings: 1", "llm"))
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"clip_id": ["a"]}), other)
    with pytest.raises(UserError, match=r"other\.parquet: does not name its backend"):
        statistics(tmp_path, [*made, other])
    (tmp_path / "rules").mkdir()
    with pytest.raises(UserError, match="made with 2 settings"):
        statistics(tmp_path, [*made, *shards(tmp_path / "rules", backend="rules")])
    with pytest.raises(UserError, match="the column 'temporal' is missing"):
        temporal_statistics.Reducer().reduce(made, other, {}, tmp_path / "out.json")


# ---- sounds


@pytest.mark.parametrize(
    ("seconds", "patches"), [(0.1, 1), (0.975, 1), (0.976, 2), (0.96 * 6 + 0.015, 6), (6, 7), (8, 9), (10, 11)]
)
def test_patches_cover_the_clip(seconds: float, patches: int) -> None:
    """No sample is left over, and no patch is empty."""
    extractor = yamnet_map.Extractor()
    assert extractor.shape(seconds) == (3 * patches, 1024)
    last = (patches - 1) * 0.96 + 0.015
    assert (last < seconds or patches == 1) and seconds <= last + 0.96 + 1e-9


def test_maps_of_sounds(asset: Callable[[str], Path]) -> None:
    """Means over frequency of the network's own map, in time's order; the last patch is heard with silence behind."""
    extractor = yamnet_map.Extractor()
    assets = {name: asset(name) for name in extractor.assets}
    clips = np.random.default_rng(0).normal(0, 0.1, (2, 40_000)).astype(np.float32)
    clips[1, :24_000] = 0
    with torch.inference_mode():
        found = extractor.load(assets, "cpu")(clips)
        network = Yamnet.from_bundle(*assets.values())
        longer = np.pad(clips, ((0, 0), (0, 15_360 * 3 + 240 - 40_000)))
        patches = network.patches(network.log_mel(torch.from_numpy(longer)), 96)
        embeddings = torch.stack([network(clip)[1] for clip in patches]).numpy()
        alone = network.feature_map(patches[0, :1])[0].mean(2).T.numpy()
    assert found.shape == (2, *extractor.shape(2.5)) == (2, 9, 1024)
    np.testing.assert_allclose(found.reshape(2, 3, 3, 1024).mean(2), embeddings, atol=1e-4)
    np.testing.assert_allclose(found[0, :3], alone, atol=1e-4)
    silence = np.linalg.norm(found[1] - found[1, 1], axis=1)
    assert silence[0] < 0.5 * silence[-2]


def test_log_mel_of_sounds() -> None:
    """The front end of PANNs' networks, and its silence, within half precision."""
    extractor = panns_log_mel.Extractor()
    clips = np.random.default_rng(0).normal(0, 0.1, (2, 64_000)).astype(np.float32)
    clips[1, 32_000:] = 0
    found = extractor.load({}, "cpu")(clips)
    assert found.shape == (2, *extractor.shape(2.0)) == (2, 201, 64)
    assert (panns_log_mel.HOP, panns_log_mel.BANDS) == (HOP, BANDS)
    np.testing.assert_array_equal(found, LogMel()(torch.from_numpy(clips)).numpy())
    np.testing.assert_allclose(found[1, 103:], -100, atol=1e-4)
    assert np.abs(found - found.astype(np.float16).astype(np.float32)).max() <= 1 / 32
    with pytest.raises(UserError, match="sample_rate"):
        panns_log_mel.Extractor.check({"sample_rate": 16_000}, "test")
