"""Whether the sounds of the sound bank can be recognised: what YAMNet hears, and how well its embeddings part them.

A sound counts as heard when a label of AudioSet that fits it is among the ten highest of YAMNet's mean scores. The
nearest-centroid accuracy takes the centroids of the sounds' mean embeddings from one split and names the draws of
the other, which shares no recording segment, voice or parameter draw with it.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from composed.sounds.bank import SAMPLE_RATE, SoundBank
from workflow_scripts.errors import UserError, run
from workflow_scripts.progress import progress
from workflow_scripts.settings.base import pairs

TOP = 10
PATCH_HOP_FRAMES = 24
LEVEL = 0.3  # peak of the draws as heard
SECONDS = (2.0, 4.0)

# Labels of AudioSet that fit each sound: its own name there and narrower ones.
FITTING = {
    "Alarm_bell_ringing": (
        "Alarm", "Alarm clock", "Siren", "Civil defense siren", "Buzzer", "Smoke detector, smoke alarm", "Fire alarm",
        "Telephone bell ringing", "Bell", "Bicycle bell",
    ),
    "Blender": ("Blender",),
    "Cat": ("Cat", "Purr", "Meow", "Hiss", "Caterwaul"),
    "Dishes": ("Dishes, pots, and pans", "Cutlery, silverware", "Chink, clink"),
    "Dog": ("Dog", "Bark", "Yip", "Howl", "Bow-wow", "Growling", "Whimper (dog)"),
    "Electric_shaver_toothbrush": ("Electric shaver, electric razor", "Electric toothbrush"),
    "Frying": ("Frying (food)", "Sizzle"),
    "Running_water": (
        "Water", "Water tap, faucet", "Sink (filling or washing)", "Bathtub (filling or washing)", "Stream", "Pour",
        "Liquid", "Fill (with liquid)", "Trickle, dribble", "Gush",
    ),
    "Speech": ("Speech", "Child speech, kid speaking", "Conversation", "Narration, monologue", "Speech synthesizer"),
    "Vacuum_cleaner": ("Vacuum cleaner",),
}  # fmt: skip


class Listener:
    """YAMNet hearing whole sounds."""

    def __init__(self, assets: dict[str, Path]) -> None:
        import torch

        from workflow_scripts.models.yamnet import Yamnet, class_names

        missing = {"yamnet_index", "yamnet_weights", "yamnet_classes"} - set(assets)
        if missing:
            raise UserError(f"the asset '{min(missing)}' is not given; add --asset {min(missing)}=PATH")
        torch.set_num_threads(1)
        self.labels = class_names(assets["yamnet_classes"])
        self.network = Yamnet.from_bundle(assets["yamnet_index"], assets["yamnet_weights"])

    def hear(self, sound: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean scores (521,) and mean embedding (1024,) of a sound at the bank's sample rate."""
        import soxr
        import torch

        from workflow_scripts.models import yamnet

        audio = torch.from_numpy(soxr.resample(LEVEL * sound, SAMPLE_RATE, yamnet.SAMPLE_RATE))
        with torch.inference_mode():
            patches = self.network.patches(self.network.log_mel(audio[None]), PATCH_HOP_FRAMES)
            scores, embeddings = self.network(patches[0])
        return scores.mean(0).numpy(), embeddings.mean(0).numpy()


def listen(
    bank: SoundBank, listener: Listener, split: str, draws: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores (sounds, draws, 521) and embeddings (sounds, draws, 1024) of draws of 2 to 4 s from one split."""
    heard = []
    for sound in progress(FITTING, f"listening to {split}", unit="sound"):
        rng = np.random.default_rng(seed)
        heard.append([listener.hear(bank.draw(sound, split, rng, rng.uniform(*SECONDS))) for _ in range(draws)])
    return (
        np.array([[scores for scores, _ in sound] for sound in heard]),
        np.array([[embedding for _, embedding in sound] for sound in heard]),
    )


def in_top_ten(scores: NDArray[np.float32], labels: list[str]) -> NDArray[np.float64]:
    """The share of each sound's draws with a fitting label among the ten highest of the scores."""
    top = np.argsort(-scores, axis=-1)[..., :TOP]
    fitting = [[labels.index(label) for label in names] for names in FITTING.values()]
    return np.array([np.isin(t, f).any(axis=1).mean() for t, f in zip(top, fitting, strict=True)])


def nearest_centroid(train: NDArray[np.float32], test: NDArray[np.float32]) -> NDArray[np.float64]:
    """The share of each sound's test draws whose nearest centroid, by cosine, is that of the sound's train draws."""
    centroids = train.mean(axis=1)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    named = np.argmax(test @ centroids.T, axis=-1)
    return (named == np.arange(len(named))[:, None]).mean(axis=1)


def main(
    output: Annotated[Path, typer.Option(help="Where the table goes, a csv file")],
    asset: Annotated[list[str], typer.Option(help="id=path of a recording or of YAMNet's files")],
    markdown: Annotated[Path | None, typer.Option(help="Where the table goes as a page")] = None,
    draws: Annotated[int, typer.Option(min=2, help="Draws of each sound from each split")] = 20,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Listens to the sound bank with YAMNet and writes how many draws of each sound it recognises."""
    import pandas as pd

    assets = {name: Path(path) for name, path in pairs(asset, "asset").items()}
    listener = Listener(assets)
    bank = SoundBank(assets, ["train", "test"], seed)
    scores, embeddings = zip(*(listen(bank, listener, split, draws, seed) for split in bank.splits), strict=True)
    both = np.concatenate(scores, axis=1)
    mean = both.mean(axis=1)
    columns = {
        "sound": list(FITTING),
        "draws": both.shape[1],
        "in top ten": in_top_ten(both, listener.labels),
        "best fitting label": [
            max(names, key=lambda label: row[listener.labels.index(label)])
            for row, names in zip(mean, FITTING.values(), strict=True)
        ],
        "heard first": [listener.labels[index] for index in mean.argmax(axis=1)],
        "nearest centroid": nearest_centroid(*embeddings),
    }
    table = pd.DataFrame(columns)
    table.to_csv(output, index=False, float_format="%.3f")
    if markdown:
        markdown.write_text(PAGE.format(table=table.to_markdown(index=False, floatfmt=".2f"), seed=seed, draws=draws))
    typer.echo(table.to_string(index=False, float_format="%.2f"))


PAGE = """# Can the composed sounds be recognised?

The sounds of the composed corpora are cut from recordings (Dog, part of Running_water), spoken by a speech
synthesiser (Speech) or synthesised from what makes such a sound (the others). Here YAMNet, trained on AudioSet's
real recordings, listens to draws of 2 to 4 s from two splits, which share no recording segment, no voice and no
parameter draw.

- **in top ten**: share of draws (both splits) for which a fitting AudioSet label is among YAMNet's ten highest.
- **best fitting label**, **heard first**: the highest of the fitting labels, and of all labels, on average.
- **nearest centroid**: share of the draws of split `test` whose mean embedding is nearest to the sound's centroid
  in split `train`, among the ten sounds.

{table}

Made with {draws} draws a split and seed {seed} by

    python -m composed.tools.recognise --output recognisable.csv --markdown docs/recognisable.md \\
        --asset yamnet_index=… --asset yamnet_weights=… --asset yamnet_classes=… \\
        --asset dog_recording=… --asset water_recording=…

The bounds of the synthesis' parameters were chosen by trying which ones YAMNet hears as the sound. So the table
shows that the sounds are recognisable to it; it does not show how YAMNet fares on real recordings, and scores on
composed corpora are easier to reach than on real ones.
"""


if __name__ == "__main__":
    run(lambda: typer.run(main))
