"""Readers of annotation files, one file each, see `corpora/interface.py`."""
