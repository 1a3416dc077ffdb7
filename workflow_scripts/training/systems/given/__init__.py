"""Predictions that somebody made elsewhere: nothing is trained."""

from workflow_scripts.training.systems.given.settings import System

__all__ = ["System"]
