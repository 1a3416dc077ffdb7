"""Tracking: runs and tables in MLflow, read from the files that jobs have written."""
