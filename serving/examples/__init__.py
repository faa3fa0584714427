"""Worked examples of using the API; tests run them."""
