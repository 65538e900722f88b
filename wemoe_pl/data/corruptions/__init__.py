"""Corrupted test images: the seven kinds, how severe, and the tasks whose images they are."""
