"""Networks on a CPU keep the channels of a cell together, which is faster; what they leave is as if they did not."""

from pathlib import Path

import audio_files
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from training_files import first_run

from workflow_scripts import shards
from workflow_scripts.models.audio_classifiers import build
from workflow_scripts.training.outputs import read_weights


@pytest.mark.parametrize("kind", ["resnet", "tbn"])
def test_stored_weights_predict_what_was_predicted(kind: str, tmp_path: Path) -> None:
    corpus = audio_files.write_corpus(tmp_path / "corpus")
    run = first_run(audio_files.job_of(corpus, tmp_path / "first", kind, [0], optimisation={"epochs": 1}))
    kernels = [weight for weight in run.network.parameters() if weight.ndim == 4 and min(weight.shape[1:]) > 1]
    assert kernels and all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)

    audio_files.train(corpus, tmp_path / "out", kind, [0], optimisation={"epochs": 1}, normalisation="none")
    network = build(audio_files.TINY[kind], (audio_files.FRAMES, audio_files.BINS), {"class": 4})
    network.load_state_dict(read_weights(tmp_path / "out", 0))
    found = pq.read_table(tmp_path / "out/predictions.parquet")
    known = {
        row["clip_id"]: row["features"] for path in audio_files.shards_in(corpus / "fbank") for row in shards.read(path)
    }
    assert found.num_rows == audio_files.SPLITS["test"]
    stored = np.stack([np.frombuffer(known[name], np.float16) for name in found["clip_id"].to_pylist()])
    clips = torch.from_numpy(stored.reshape(-1, audio_files.FRAMES, audio_files.BINS).astype(np.float32))
    with torch.inference_mode():
        logits = network.eval()(clips)["class"].numpy()
    assert np.allclose(logits, shards.stack(found, "logits_class"), atol=1e-3)
