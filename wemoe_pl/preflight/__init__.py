"""Check a job before it begins: what it would read and write, and how much memory it takes."""
