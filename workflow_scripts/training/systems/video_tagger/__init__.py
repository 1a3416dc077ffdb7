"""Tagging of videos with many labels from picture, sound and text."""

from workflow_scripts.training.systems.video_tagger.settings import System

__all__ = ["System"]
