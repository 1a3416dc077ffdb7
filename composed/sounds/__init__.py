"""The sound bank. Add a kind of sound to `bank.py`: a recording by its asset, or a function that synthesises it."""
