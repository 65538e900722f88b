"""Manage the folder of a run: the files in it, the lock for writing, and the state of the run."""
