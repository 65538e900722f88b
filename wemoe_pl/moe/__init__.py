"""Define the mixture: task vectors, the dictionaries that hold them, routers, the merged MLP."""
