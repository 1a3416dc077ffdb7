"""Sound event detection from weak labels: a CRNN with feature fusion, trained with a mean teacher."""

from workflow_scripts.training.systems.mean_teacher_sed.settings import System

__all__ = ["System"]
