"""Encore's stages, one package each, and the ground they stand on (models, metrics, shards, settings)."""
