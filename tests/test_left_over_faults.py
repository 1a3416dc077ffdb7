"""Faults of files and servers that come late: foreign checkpoints, heads that drip, copied ledgers, deep JSON."""

import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import audio_files
import numpy as np
import pyarrow.parquet as pq
import pytest
import requests
import test_stored
import torch
from asset_files import declared
from record_files import Publisher
from safetensors.numpy import save_file
from test_figure_adaptor import drawn, job
from test_stored import Clips
from training_files import at_step, die

from workflow_scripts.assets import hub
from workflow_scripts.assets.fetch import download, fetch
from workflow_scripts.captions.backends import openai
from workflow_scripts.errors import UserError
from workflow_scripts.media.bounded import Bounded
from workflow_scripts.media.text_sources import DataApi
from workflow_scripts.settings.download import Download, Patience
from workflow_scripts.settings.text import Text
from workflow_scripts.shards import ClipError
from workflow_scripts.training import outputs
from workflow_scripts.transfer import Session, failure

clips = test_stored.clips  # a fixture
DEEP = b"[" * 200_000


# (a) checkpoints


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[Path, Path]:
    """A toy corpus, and the checkpoint of a run that was stopped."""
    corpus = audio_files.write_corpus(tmp_path / "corpus")
    with pytest.raises(KeyboardInterrupt), at_step(4, die):
        audio_files.train(corpus, tmp_path / "out", "resnet", [0], checkpoint_every=2)
    (checkpoint,) = (tmp_path / "out" / "checkpoints").glob("*.pt")
    return corpus, checkpoint


def resumed(corpus: Path, checkpoint: Path) -> str:
    with pytest.raises(UserError) as error:
        audio_files.train(corpus, checkpoint.parent.parent, "resnet", [0], checkpoint_every=2)
    assert str(error.value).endswith("; delete it to train this run anew")
    return str(error.value)


def of_another(corpus: Path, folder: Path, **changes: Any) -> Path:
    """The checkpoint of another run, in a folder of its own."""
    kind = changes.pop("kind", "resnet")
    with pytest.raises(KeyboardInterrupt), at_step(4, die):
        audio_files.train(corpus, folder, kind, [0], checkpoint_every=2, **changes)
    (found,) = (folder / "checkpoints").glob("*.pt")
    return found


@pytest.mark.parametrize(
    "changes", [{"kind": "ast"}, {"model": {"width": 8}}, {"optimisation": {"learning_rate": 1e-4}}]
)
def test_the_checkpoint_of_another_run_is_refused(
    changes: dict[str, Any], stopped: tuple[Path, Path], tmp_path: Path
) -> None:
    """Of another network, of other sizes, of another learning rate alone: under this run's name."""
    corpus, checkpoint = stopped
    other = of_another(corpus, tmp_path / "other", **dict(changes))
    for path in checkpoint.parent.iterdir():
        shutil.copy(other, path)
    said = f"{checkpoint}: not a readable checkpoint (it is that of another run, {other.stem})"
    assert said in resumed(corpus, checkpoint)


@pytest.mark.parametrize(("width", "said"), [(8, r"size mismatch for \S+:"), (None, "Missing key")])
def test_a_checkpoint_that_does_not_fit_says_where_it_lies_and_what_differs(
    width: int | None, said: str, stopped: tuple[Path, Path], tmp_path: Path
) -> None:
    """Files from before runs had their names in them."""
    corpus, checkpoint = stopped
    change = {"model": {"width": width}} if width else {"kind": "ast"}
    state = torch.load(of_another(corpus, tmp_path / "other", **change), weights_only=True)
    torch.save({key: value for key, value in state.items() if key != "run"}, checkpoint)
    told = resumed(corpus, checkpoint)
    assert told.startswith(f"{checkpoint}: not a checkpoint of this run (")
    assert re.search(said, told)


# (b) heads that drip


@contextmanager
def dripping() -> Iterator[str]:
    """The address of a server that sends the head of its answer a byte at a time, and never ends it."""
    over = threading.Event()

    def serve(client: socket.socket) -> None:
        with client:
            client.recv(1 << 16)
            try:
                client.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not over.wait(0.05):
                    client.sendall(b"x")
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while not over.is_set():
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/x.mp4"
        finally:
            over.set()


def of_asset(link: str, folder: Path) -> None:
    with pytest.raises(requests.Timeout):
        download(link, folder / "w", "weights", Patience(timeout=0.3), 1 << 20, verified=True)


def of_page(link: str, folder: Path) -> None:
    with pytest.raises(requests.Timeout) as error:
        Session().page(link, Patience(timeout=0.3))
    assert failure(error.value).reason == "network_error"


def of_yt_dlp(link: str, folder: Path) -> None:
    from yt_dlp.networking.exceptions import TransportError

    with pytest.raises(TransportError):
        Bounded(Download(timeout=0.3), {"socket_timeout": 0.3, "quiet": True}, 1 << 20).urlopen(link)


@pytest.mark.parametrize("ask", [of_asset, of_page, of_yt_dlp])
def test_a_head_that_drips_is_given_up(ask: Callable[[str, Path], None], tmp_path: Path) -> None:
    """Each byte comes in time, but the head has no end; without a bound this waits until lines may be no longer."""
    done = threading.Thread(target=lambda: asked(ask, tmp_path, faults), daemon=True)
    faults: list[BaseException] = []
    done.start()
    done.join(60)
    assert not done.is_alive() and not faults, faults


def asked(ask: Callable[[str, Path], None], folder: Path, faults: list[BaseException]) -> None:
    try:
        with dripping() as link:
            ask(link, folder)
    except BaseException as error:  # noqa: BLE001 - it is told to the test, in another thread
        faults.append(error)


# (c) the figure of the adaptor


def test_a_figure_of_damaged_weights_is_not_drawn(tmp_path: Path) -> None:
    run = job(tmp_path / "run")
    own = {
        "adaptor.convolution.weight": np.ones((1, 1, 3, 3), np.float32),
        "adaptor.convolution.bias": np.ones(1, np.float32),
    }
    weights = {f"1/{name}": value for name, value in own.items()}
    save_file(weights, run / "weights.safetensors", {"1": outputs.weights_digest(own)})
    drawn(run, tmp_path)
    whole = (run / "weights.safetensors").read_bytes()
    (run / "weights.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match=r"weights.safetensors: the weights of seed 1 are damaged; delete it and run"):
        drawn(run, tmp_path)


# (d) ledgers


@pytest.mark.parametrize("kind", ["records", "clips"])
def test_a_copied_ledger_is_noticed(kind: str, tmp_path: Path, clips: Clips) -> None:
    """It has as many rows as the one in whose place it lies, and all of its files are there."""
    if kind == "records":
        publisher = Publisher(tmp_path / "records")
        folder, rule = publisher.store, "fetch_records"
        for shard in range(2):
            publisher.fetch(shard=shard, shards=2)
    else:
        folder, rule = clips.folder, "fetch_clips"
        clips.fetch()
    first, *others = sorted(path for path in folder.rglob("*.parquet") if "path" in pq.read_schema(path).names)
    shutil.copy(first, others[0] if others else first.with_name("1.parquet"))
    verify = [sys.executable, "-m", "workflow_scripts.media.verify", str(folder)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    copied = others[0] if others else first.with_name("1.parquet")
    assert f"{copied}: it has rows of {first}, so one of them is a copy" in done.stderr and rule in done.stderr


# (e) deep JSON


class Deep(BaseHTTPRequestHandler):
    """Answers whatever is asked with JSON nested too deeply for Python."""

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(DEEP)))
        self.end_headers()
        self.wfile.write(DEEP)

    do_POST = do_GET  # noqa: N815 - its base's name

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def deep() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Deep)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_deep_json_of_servers_is_a_reason(deep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="its JSON is nested too deeply"):
        hub.listing(deep, Session(), Patience())
    monkeypatch.setenv("ENCORE_TEST_KEY", "key")
    settings = Text.check({"source": "data_api", "api": deep, "key_variable": "ENCORE_TEST_KEY"}, "toy")
    with pytest.raises(ClipError, match="the API answers no list of videos"):
        DataApi(settings).ask(["a"])
    backend = openai.Backend(kind="openai", url=deep, model="m", retries=0)
    with pytest.raises(UserError, match=r"does not answer \(its answer is no chat completion"):
        openai.Server(backend).ask([[{"role": "user", "content": "x"}]])


def test_deep_json_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_bytes(DEEP)
    asset = declared(f"file:{tmp_path / 'deep.json'}", kind="json")
    with pytest.raises(UserError, match="nested too deeply"):
        fetch("words", asset, tmp_path / "w", lock=tmp_path / "lock.yaml")
