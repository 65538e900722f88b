"""Read the images of tasks, prepare them for an encoder, and put them in order."""
