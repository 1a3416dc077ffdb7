"""Figures: a picture of what was trained, and the numbers that it shows. A kind of figure is a file in `kinds/`."""
