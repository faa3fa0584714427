"""Marketing copy and pictures: composed from approved blocks, perhaps rewritten by a model, always checked."""
