"""What a data scientist would get in an afternoon from well-kept libraries: the opponents of `recsys benchmark`."""
