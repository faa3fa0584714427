"""Fair lending measured: who is shown what, how well it serves each group, and what the model knows of the groups."""
