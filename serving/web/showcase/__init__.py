"""The page at `/` of a local server: a customer, what is known of him, what he is shown and why."""
