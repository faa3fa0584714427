"""Columns that no model may read where credit is ranked: by name, in every spelling, and nothing beside them."""

import pytest

from recsys.errors import ModelError
from recsys.features.spec import ColumnType, Entity, FeatureColumn, FeatureManifest, FeatureView
from recsys.modeling.encoding import ColumnEncoding, EntityEncoding, GroupEncoding
from recsys.policy.fair_inputs import Refusal, RefusedColumn, refusal_of, refused_columns, require_fair_inputs
from recsys.policy.pack import CreditPolicy, load_pack
from recsys.schema import FeatureKind, PolicyName

BANK = load_pack(PolicyName.BANK).credit


@pytest.mark.parametrize(
    ("column", "entry", "kind"),
    [
        ("age", "age", "protected"),
        ("Age", "age", "protected"),
        ("age_band", "age", "protected"),
        ("customerAge", "age", "protected"),
        ("date-of-birth", "date_of_birth", "protected"),
        ("birthDate", "birth_date", "protected"),
        ("zipcode", "zip_code", "protected"),
        ("marital status", "marital_status", "protected"),
        ("gender_vector", "gender", "protected"),
        ("home_region", "region", "proxy"),
        ("preferred_language", "language", "proxy"),
        ("share_school_90d", "school", "proxy"),
    ],
)
def test_refusal_of_a_name_that_says_an_entry_names_it(column: str, entry: str, kind: str) -> None:
    assert refusal_of(column, BANK) == Refusal(entry, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "column",
    ["segment", "mileage", "usage_30d", "average", "n_view_7d", "share_public_transport_90d", "sextant", "", "_"],
)
def test_refusal_of_other_names_is_none(column: str) -> None:
    assert refusal_of(column, BANK) is None


def test_refusal_without_credit_rules_is_none() -> None:
    assert refusal_of("gender", load_pack(PolicyName.NONE).credit) is None
    assert refusal_of("gender", CreditPolicy(protected_columns=("",))) is None


def view(name: str, entity: Entity, *columns: str) -> FeatureView:
    made = [FeatureColumn(name=column, kind=FeatureKind.CATEGORICAL, type=ColumnType.STRING) for column in columns]
    return FeatureView(name=name, entity=entity, columns=tuple(made))


def test_refused_columns_are_the_customers_only() -> None:
    """A product's name and a creative's language say nothing of the customer."""
    manifest = FeatureManifest(
        dataset="d",
        fingerprint="f",
        history_length=1,
        text_encoder="",
        image_encoder="",
        views=(
            view("customer_profile", Entity.CUSTOMER, "segment", "age", "region"),
            view("product_attributes", Entity.PRODUCT, "name", "min_age"),
            view("content_attributes", Entity.CONTENT, "language"),
        ),
    )
    assert refused_columns(manifest, BANK) == (
        RefusedColumn("customer_profile__age", "age", "protected"),
        RefusedColumn("customer_profile__region", "region", "proxy"),
    )


def encoding(*keys: str) -> EntityEncoding:
    columns = tuple(ColumnEncoding(key=key, kind=FeatureKind.CATEGORICAL, vocabulary=("a",)) for key in keys)
    return EntityEncoding(entity=Entity.CUSTOMER, groups=(GroupEncoding(name="profile", columns=columns),))


def test_require_fair_inputs_refuses_a_signature_and_names_column_and_remedy() -> None:
    require_fair_inputs(encoding("customer_profile__segment"), ("tower", "age_last", "attribute_min_age"), BANK)
    with pytest.raises(ModelError, match=r"customer_profile__sex.*`sex` is a protected column.*Train again"):
        require_fair_inputs(encoding("customer_profile__segment", "customer_profile__sex"), (), BANK)
    with pytest.raises(ModelError, match=r"customer_profile__region.*a proxy of one"):
        require_fair_inputs(encoding("customer_profile__segment"), ("tower", "customer_profile__region"), BANK)
