"""Media: clips fetched from their links, their sound and their frames."""

REVISION = 1  # raise it when a change of code changes what is fetched or decoded: the stage then runs again
