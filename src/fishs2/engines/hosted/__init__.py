"""Any engine in a child process."""
