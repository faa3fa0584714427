"""Feast's feature services, and all definitions of one home together."""

from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from feast import Entity as FeastEntity
from feast import FeatureService, FileSource
from feast import FeatureView as FeastView

from feature_repo.entities import make_entity
from feature_repo.sources import make_source
from feature_repo.views import make_view
from recsys.features.spec import CONTENT_SERVICE, CUSTOMER_SERVICE, PRODUCT_SERVICE, Entity, FeatureManifest

SERVICE_OF_ENTITY: Final = MappingProxyType(
    {Entity.CUSTOMER: CUSTOMER_SERVICE, Entity.PRODUCT: PRODUCT_SERVICE, Entity.CONTENT: CONTENT_SERVICE}
)


class Repository(NamedTuple):
    """Everything that Feast is told."""

    entities: list[FeastEntity]
    sources: list[FileSource]
    views: list[FeastView]
    services: list[FeatureService]

    def objects(self) -> list[FeastEntity | FileSource | FeastView | FeatureService]:
        """All of it, in the order in which Feast wants to know it."""
        return [*self.entities, *self.sources, *self.views, *self.services]


def repository(manifest: FeatureManifest, folder: Path) -> Repository:
    """The definitions of the feature tables in `folder`: one service an entity, with all of its views.

    Args:
        manifest: of `folder`.
        folder: the feature tables.
    """
    present = [entity for entity in Entity if manifest.views_of(entity)]
    # Feast compares definitions by identity: an entity or source that is made twice is refused as a duplicate.
    entities = {entity: make_entity(entity) for entity in present}
    sources = {view.name: make_source(view, folder) for view in manifest.views}
    views = {view.name: make_view(view, entities[view.entity], sources[view.name]) for view in manifest.views}
    services = [
        FeatureService(name=SERVICE_OF_ENTITY[entity], features=[views[v.name] for v in manifest.views_of(entity)])
        for entity in present
    ]
    return Repository(list(entities.values()), list(sources.values()), list(views.values()), services)
