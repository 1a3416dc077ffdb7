"""Extractors, one file each, named as users write it, see `features/interface.py`."""
