"""Listening tests: one page for raters, and the mean opinion scores from what they return."""
