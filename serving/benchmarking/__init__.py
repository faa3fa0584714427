"""How fast the service answers, beside an app that only reads: `recsys benchmark-serving`."""
