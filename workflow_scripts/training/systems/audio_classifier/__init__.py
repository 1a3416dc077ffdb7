"""Classification of sounds by a transformer or a convolutional network, with one head or several."""

from workflow_scripts.training.systems.audio_classifier.settings import System

__all__ = ["System"]
