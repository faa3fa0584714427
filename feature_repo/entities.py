"""Feast's entities: what views are keyed by."""

from feast import Entity as FeastEntity
from feast import ValueType

from recsys.features.spec import Entity


def make_entity(entity: Entity) -> FeastEntity:
    """The Feast entity; its name is its join key, for example `customer_id`."""
    return FeastEntity(name=entity.value, join_keys=[entity.value], value_type=ValueType.STRING)
