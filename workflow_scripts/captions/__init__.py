"""Temporal captions: captions rewritten as lists of events with their order, and the negatives drawn from them."""
