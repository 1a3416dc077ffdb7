"""Commands for people who look at what was composed; nothing that composes uses them."""
