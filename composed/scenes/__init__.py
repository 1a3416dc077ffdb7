"""Sources of sound events: which are heard when, at which level, and how they are written as sound or video files."""
