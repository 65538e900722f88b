"""Files, network, signals, and trust in what comes from there: the lowest floor of the package."""
