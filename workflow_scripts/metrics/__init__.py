"""Metrics as functions of arrays and texts, and the bootstrap; they know no files, papers or settings."""
