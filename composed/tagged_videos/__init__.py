"""YouTube-8M's videos: topics, labels, and embeddings of scenes of which no video is kept."""
