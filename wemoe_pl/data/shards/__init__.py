"""Divide any number of images into units of work: files, rows of tables, members of tar shards."""
