"""Language models without knowledge, for tests: a server with faults, and a network of random weights over bytes."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from workflow_scripts.captions.prompt import answer_of

KEY = "a-secret-key"
CAPTION = "a dog barks then a man speaks"
GOOD = answer_of([("dog barks", 1), ("man speaks", 2)])


class Completions(BaseHTTPRequestHandler):
    """Chat completions with faults: the caption says which."""

    protocol_version = "HTTP/1.1"
    asked: Counter[str]
    bodies: list[dict[str, Any]]
    pause = 0.0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        caption = body["messages"][-1]["content"]
        type(self).asked[caption] += 1
        type(self).bodies.append(body)
        time.sleep(self.pause)
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self.reply(401, "who are you?")
        elif self.path != "/v1/chat/completions":
            self.reply(404, "nothing here")
        elif caption.startswith("refused"):
            self.reply(400, "content filter")
        elif caption.startswith("down") or (caption.startswith("flaky") and self.asked[caption] < 3):
            self.reply(429 if self.asked[caption] == 1 else 503, "busy")
        elif caption.startswith("garbled") and self.asked[caption] < 2:
            self.reply(200, "<html>")
        elif caption.startswith("torn") and self.asked[caption] < 2:
            self.close_connection = True
        else:
            self.reply(200, json.dumps({"choices": [{"message": {"content": f'{{"events":{GOOD}}}'}}]}))

    def reply(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def served() -> Iterator[tuple[str, type[Completions]]]:
    """The address of a server that wants the key, and its handler."""
    handler = type("Handler", (Completions,), {"asked": Counter(), "bodies": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", handler
        server.shutdown()


def untrained() -> tuple[Any, Any]:
    """A model and its tokenizer: it knows nothing, so only the grammar makes sense of it."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*alphabet, "<end>"])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>", pad_token="<end>")  # noqa: S106 - tokens, no secrets
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(vocabulary) + 7, max_position_embeddings=4096, initializer_range=1.0, **shape)
    return LlamaForCausalLM(config).eval(), tokenizer
