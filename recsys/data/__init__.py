"""The dataset directory: contract, splits and importers."""
