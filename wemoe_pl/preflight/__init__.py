"""What a job would read, write and take, told before it begins."""
