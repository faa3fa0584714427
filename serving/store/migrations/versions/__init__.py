"""The revisions, oldest first. They import nothing of the project: what they did must not change with it."""
