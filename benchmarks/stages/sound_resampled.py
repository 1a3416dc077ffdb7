"""The sound of mp4 clips, resampled to the 22.1 kHz of boes_avsed."""

from benchmarks.stages.sound import stage

STAGE = stage(21, "mp4 to samples at 22.1 kHz", 22_100)
