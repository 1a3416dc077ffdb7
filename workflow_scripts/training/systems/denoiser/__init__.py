"""A BART that learns texts alone, by restoring what was masked: the first weights of captioners."""

from workflow_scripts.training.systems.denoiser.settings import System

__all__ = ["System"]
