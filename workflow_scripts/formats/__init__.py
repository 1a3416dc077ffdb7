"""File formats of data sets, as they are published."""
