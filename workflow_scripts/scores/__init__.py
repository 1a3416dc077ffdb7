"""Scores: from predictions to metrics. A family of metrics is a file in `families/`; the commands are for people."""
