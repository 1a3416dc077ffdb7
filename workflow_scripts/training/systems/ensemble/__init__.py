"""Ensembles of finished taggers: their average, their maximum, or a random forest (yt8m_text, section 3.1, table 4)."""

from workflow_scripts.training.systems.ensemble.settings import System

__all__ = ["System"]
