"""How a language model's GGUF file is read."""

from pathlib import Path

import gguf
import pytest

from workflow_scripts.captions.backends.transformers import parsed_once


def test_a_file_is_parsed_once_while_a_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    before, parsed = (gguf.GGUFReader, gguf.get_tensor_name_map), []
    parse = gguf.GGUFReader._build_fields
    monkeypatch.setattr(gguf.GGUFReader, "_build_fields", lambda *a: parsed.append(1) or parse(*a))
    with pytest.raises(ZeroDivisionError), parsed_once():
        first, second = (gguf.GGUFReader(tmp_path / "model.gguf") for _ in range(2))
        assert first is second and len(parsed) == 1
        names = [gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2) for _ in range(2)]
        assert names[0] is names[1] and names[0].get_name("model.embed_tokens") == "token_embd"
        raise ZeroDivisionError
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == before
