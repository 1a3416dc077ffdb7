"""The ways of training, a folder each: settings, data, network, and the run of a seed, in the order of reading."""
