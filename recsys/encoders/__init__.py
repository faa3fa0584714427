"""Frozen text and image encoders."""
