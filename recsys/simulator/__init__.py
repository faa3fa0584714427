"""A bank that does not exist, with the truth it was drawn from."""
