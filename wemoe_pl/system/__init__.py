"""Work with files, network and signals, and decide which input to trust: the lowest layer."""
