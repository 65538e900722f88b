"""The pictures of a run, of its analyses and of a sweep."""
