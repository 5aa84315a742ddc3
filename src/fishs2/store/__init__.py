"""What outlives a request: files and SQL. No use-case rules, no audio, no HTTP."""
