"""How the store's tables came to be: one revision a change, applied in order when a store is opened."""
