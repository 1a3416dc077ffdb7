"""Pictures and recordings of digits, and the noise that is added to either."""
