"""Who rewrites captions: one module for each kind of backend in `settings/temporal.py`."""
