"""Images and their tasks: what is read, how it is prepared, and in which order it comes."""
