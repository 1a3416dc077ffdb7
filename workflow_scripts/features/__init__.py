"""Features: what models are given, a shard for each shard of clips; whole features are reduced to one file."""
