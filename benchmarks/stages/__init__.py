"""The stages that are measured; what one is stands in `benchmarks/stage.py`."""
