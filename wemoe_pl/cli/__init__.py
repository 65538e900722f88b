"""The command line reads what a user types, runs it, and says what is wrong with it."""
