"""Corpora: annotation files become a manifest, one row a clip. A way of reading them is a file in `readers/`."""
