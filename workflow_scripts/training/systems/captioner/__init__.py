"""Audio captioning, with or without temporal alignment."""

from workflow_scripts.training.systems.captioner.settings import System

__all__ = ["System"]
