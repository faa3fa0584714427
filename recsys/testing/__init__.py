"""Contract tests and tiny data that every component's own test starts from."""
