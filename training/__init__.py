"""Training recipes: point-in-time dataset, loop, evaluation, tracking and promotion."""
