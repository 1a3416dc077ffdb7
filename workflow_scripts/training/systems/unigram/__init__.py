"""The unigram baseline: a Bayesian guess of the labels from the words of a title or of keywords (yt8m_text, 3.2)."""

from workflow_scripts.training.systems.unigram.settings import System

__all__ = ["System"]
