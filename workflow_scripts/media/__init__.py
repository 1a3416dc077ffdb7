"""Media: clips fetched from their links, their sound and their frames."""
