"""A brief that is valid, to change one thing of."""

from typing import Any

from recsys.campaigns.brief import Brief


def brief_values(**changes: Any) -> dict[str, Any]:
    """The keys of a small valid brief, changed."""
    values: dict[str, Any] = {
        "campaign_id": "summer",
        "name": "Summer",
        "products": "engine",
        "audience": "everyone",
        "channels": [{"channel": "email", "cost_per_contact": 0.5, "capacity": 10}],
        "budget": 10.0,
        "starts": "2026-07-02T00:00:00Z",
        "ends": "2026-07-09T00:00:00Z",
        "languages": ["en"],
        "salt": "a salt of some length",
    }
    return {**values, **changes}


def make_brief(**changes: Any) -> Brief:
    """A brief of these values."""
    return Brief.parse(brief_values(**changes), source="brief.yaml")
