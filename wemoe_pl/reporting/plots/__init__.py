"""Draw the figures of a run, of the analyses and of a sweep."""
