"""Public sets into the data contract, one set a file."""
