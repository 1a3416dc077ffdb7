"""Cells that need no data, one file a kind: `cells(experiment)` reads them off what an experiment's settings build.

`experiment` has the experiment's keys of paper.yaml, its features with their settings, and `clip_seconds`; the result
maps (row, column) to the cell's text.
"""
