"""Save, guard, record and end runs, and keep predictions, by Lightning callbacks."""
