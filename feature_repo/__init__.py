"""The Feast feature repository."""
