"""Measures, one family a file; numpy only, so that nothing of the engine can colour them."""
