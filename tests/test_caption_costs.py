"""What scoring captions takes: memory, and libraries that it does not need."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SCORED = """
import json, sys
from pathlib import Path
import psutil
from workflow_scripts.metrics import captions
said, told = ["a hound barks", "rain falls"], [["a dog is barking", "dogs bark"], ["it is raining"]]
captions.records(said, told, scene_graphs=Path(sys.argv[1]))
seen = "torch" in sys.modules
(meteor,) = psutil.Process().children()
print(json.dumps({"torch": seen, "meteor": meteor.memory_info().rss}))
import torch  # still can be
"""


def test_captions_are_scored_with_little_memory(asset: Callable[[str], Path]) -> None:
    """METEOR holds the paraphrases of the references alone; spaCy comes without PyTorch, which can be loaded later."""
    command = [sys.executable, "-c", SCORED, str(asset("spacy_md_wheel"))]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert not found["torch"]
    assert found["meteor"] < 400_000_000, "bytes, of 1,300,000,000 with all paraphrases"
