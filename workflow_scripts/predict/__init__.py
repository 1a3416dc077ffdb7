"""Trained systems at work on files of one's own.

from workflow_scripts.predict.model import load

print(load("work/mini/training/boes_avsed/SA/seeds-0-3").predict(["street.wav"]))
"""
