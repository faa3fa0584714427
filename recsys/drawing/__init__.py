"""Flat illustrations drawn with Pillow: a scene in a palette, a style and a layout."""
