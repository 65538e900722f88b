"""Corrupt the test images of tasks, by seven kinds of corruption at five severities."""
