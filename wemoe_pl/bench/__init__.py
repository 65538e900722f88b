"""`wemoe-pl bench`: what per-sample merging costs, as ratios to the plain model."""
