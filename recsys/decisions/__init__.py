"""From candidates to a ranked, explained answer."""
