"""The studio: the marketing team's pages."""
