"""The command line: the composition root, the only folder of the library that may import the other packages."""
