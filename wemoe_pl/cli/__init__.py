"""The command line: what a user types, and what is said when that is wrong."""
