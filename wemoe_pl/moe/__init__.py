"""The mixture: task vectors, the dictionaries that hold them, routers, and the merged MLP."""
