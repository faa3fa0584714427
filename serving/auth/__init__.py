"""Who may ask: bearer tokens, the keys that sign them, and what must be set before a service is open to others."""
