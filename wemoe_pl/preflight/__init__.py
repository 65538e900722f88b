"""A check tells what a job would read, write and take, before it begins."""
