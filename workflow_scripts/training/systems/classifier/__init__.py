"""Classification of clips from pictures, raw sounds, or both, with early stopping."""

from workflow_scripts.training.systems.classifier.settings import System

__all__ = ["System"]
