"""Who rewrites captions: one file a backend, see `captions/interface.py`."""
