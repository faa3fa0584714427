"""Campaigns on their way to customers: approval, scheduling, dispatch."""
