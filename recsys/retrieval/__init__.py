"""Top-k search over candidate vectors."""
