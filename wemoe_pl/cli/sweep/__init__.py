"""Run `wemoe-pl sweep`: a job for every point of a grid, and one table in the end."""
