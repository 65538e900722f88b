"""Answer any number of images, by any number of processes that share the work through files."""
