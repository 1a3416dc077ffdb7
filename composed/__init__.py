"""Small corpora in the true formats, for whoever has no data yet.

To the pipeline a composed corpus is a source like any other: annotation files and media. `workflow_scripts` imports
nothing from here; this package uses its settings, shards, formats, readers and models.

| to change | look into |
|---|---|
| a corpus: its sizes, labels and annotation files | `composers/`, a file each |
| how events are put together into a source | `scenes/` |
| what is heard | `sounds/` |
| what is seen | `pictures/` |
| what is said of it: captions, titles, keywords | `text/` |
| the videos of YouTube-8M, known by features only | `tagged_videos/` |
| the pairs of a picture and a spoken digit | `digits/` |
| how a corpus is looked at and listened to | `tools/` |

Everything follows from a seed, no two splits share a piece of a recording or a parameter draw, and no feature follows
from a label. A change of what is composed is a change of the composer's `revision`.
"""
