"""content_attributes, content_text and content_images: marketing creatives."""

from types import MappingProxyType
from typing import Final

from recsys.features.items import plan_attributes, plan_images, plan_text
from recsys.features.plan import Sources, ViewPlan
from recsys.features.spec import Entity, ViewName
from recsys.schema import FeatureKind, Table

CANONICAL: Final = MappingProxyType(
    dict.fromkeys(("product_id", "channel", "language", "tone", "ai_generated"), FeatureKind.CATEGORICAL)
)
TEXTS: Final = ("headline", "body", "call_to_action")


def plan_contents(sources: Sources) -> list[ViewPlan]:
    """The views of contents that the dataset has something for."""
    plans = (
        plan_attributes(sources, Table.CONTENTS, ViewName.CONTENT_ATTRIBUTES, Entity.CONTENT, CANONICAL),
        plan_text(sources, Table.CONTENTS, ViewName.CONTENT_TEXT, Entity.CONTENT, TEXTS),
        plan_images(sources, Table.CONTENTS, ViewName.CONTENT_IMAGES, Entity.CONTENT),
    )
    return [plan for plan in plans if plan is not None]
