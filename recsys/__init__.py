"""The recommendation engine's library. It knows no feature store, tracking server, web framework or network."""
