"""Families of metrics, one file each: `Scorer` turns predictions into records a clip, and weighted records into scores.

`Scorer(Strict)` holds the settings. `records(predictions, references)` returns an array with the clip axis first;
`aggregate(records, weights)` returns each score for every row of clip weights, so that a score which does not add up
over clips can still be recomputed on every resample.
"""
