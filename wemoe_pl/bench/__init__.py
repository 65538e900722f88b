"""Measure, for `wemoe-pl bench`, the costs of per-sample merging as ratios to the plain model."""
