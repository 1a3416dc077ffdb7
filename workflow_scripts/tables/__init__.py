"""Tables: cells with their intervals beside the printed ones, claims, coverage, and the front doors."""
