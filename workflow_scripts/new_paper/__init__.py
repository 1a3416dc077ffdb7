"""Begins a paper of one's own."""
