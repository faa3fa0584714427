"""Campaigns: from a brief to who gets which product, in which words, on which channel, and what came of it."""
