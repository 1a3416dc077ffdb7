"""Cells that need no data: one file a source, see `tables/interface.py`."""
