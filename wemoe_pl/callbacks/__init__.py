"""Lightning callbacks: save, guard, record, answer and end together."""
