"""Families of metrics: one file each, see `scores/interface.py`."""
