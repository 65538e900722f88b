"""Advise which experts can be merged, and by which method, before anything is merged."""
