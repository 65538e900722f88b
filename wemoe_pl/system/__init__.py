"""What touches disk, network and signals, and what may be trusted of what comes from there."""
