"""Reducers: one file computed from all shards of a feature, one module each, named as users write it.

A module has one class `Reducer`: its fields are the settings, `suffix` is the ending of its file, and `reduce` streams
the shards and writes it. Heavy libraries are imported in `reduce` only, because settings are checked while planning.
"""
