"""Feature tables: one file a subject, lazy polars in, feature table out."""
