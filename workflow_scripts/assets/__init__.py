"""Assets: catalogued files (weights, recordings, annotations), fetched once and verified."""
