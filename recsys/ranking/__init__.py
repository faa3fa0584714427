"""The second stage: simple sources and cross features over candidates, and the models that rank by them."""
