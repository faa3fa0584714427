"""Which columns no model may read where credit is ranked: the pack's protected columns and their proxies, by name.

One tower serves all products, and a credit product may join the catalogue at any time and is then placed by what the
towers learned before. So a pack that has protected or proxy columns keeps them out of the model's inputs for every
product, whether or not credit is on sale today. Rules may still read such a column (`age` for ELIG_AGE) and the
fairness report measures by it; what stands for a protected fact under another name is the report's probe's business.
"""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from recsys.errors import ModelError
from recsys.features.spec import Entity, FeatureManifest, feature_name
from recsys.modeling.encoding import EntityEncoding
from recsys.policy.pack import CreditPolicy

ColumnKind = Literal["protected", "proxy"]


class Refusal(NamedTuple):
    """Why a column is refused."""

    entry: str
    """The pack's entry that the name says."""
    kind: ColumnKind


class RefusedColumn(NamedTuple):
    """A feature that the model does not get."""

    key: str
    """`<view>__<column>`."""
    entry: str
    kind: ColumnKind


def refusal_of(column: str, credit: CreditPolicy) -> Refusal | None:
    """The first entry of the pack whose words stand in a column's name; None where the column is open to models.

    Words are what `_`, `-`, spaces and changes of case separate: `age` refuses `age`, `Age_Band` and `customerAge`, and
    leaves `mileage` alone; `zip_code` refuses `zipcode` too. Protected entries are asked before proxies.

    >>> credit = CreditPolicy(protected_columns=("age", "birth_date"), proxy_columns=("region",))
    >>> refusal_of("customer_ageBand", credit)
    Refusal(entry='age', kind='protected')
    >>> refusal_of("home-region", credit).kind, refusal_of("mileage", credit), refusal_of("birth_weight", credit)
    ('proxy', None, None)
    """
    words = _words(column)
    entries: tuple[tuple[ColumnKind, Iterable[str]], ...] = (
        ("protected", credit.protected_columns),
        ("proxy", credit.proxy_columns),
    )
    for kind, names in entries:
        for name in names:
            if _says(words, _words(name)):
                return Refusal(name, kind)
    return None


def refused_columns(manifest: FeatureManifest, credit: CreditPolicy) -> tuple[RefusedColumn, ...]:
    """The features of customers that no model may read, in the order of the manifest."""
    keys = [
        (feature_name(view.name, c.name), c.name) for view in manifest.views_of(Entity.CUSTOMER) for c in view.columns
    ]
    found = ((key, refusal_of(column, credit)) for key, column in keys)
    return tuple(RefusedColumn(key, refusal.entry, refusal.kind) for key, refusal in found if refusal is not None)


def require_fair_inputs(customers: EntityEncoding, further: Iterable[str], credit: CreditPolicy) -> None:
    """Refuses a model whose signature has a protected column or a proxy.

    Args:
        customers: how the towers read a customer.
        further: names of what else is ranked by; those of the form `<view>__<column>` are features of a customer.
        credit: the pack's section.

    Raises:
        ModelError: it has one.
    """
    read = [column.key for group in customers.groups for column in group.columns]
    read += [name for name in further if name.startswith("customer_") and "__" in name]
    for key in read:
        refusal = refusal_of(key.split("__", 1)[1], credit)
        if refusal is not None:
            raise ModelError(
                f"the model reads {key}, and the policy pack refuses it for credit: `{refusal.entry}` is "
                f"{'a protected column' if refusal.kind == 'protected' else 'a proxy of one'}. "
                "Train again, without this feature"
            )


def _words(name: str) -> list[str]:
    """The words of a name, in lower case.

    >>> _words("ZIP-codeOld"), _words("n_view_7d")
    (['zip', 'code', 'old'], ['n', 'view', '7d'])
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word for word in re.split(r"[\W_]+", apart.lower()) if word]


def _says(words: list[str], entry: list[str]) -> bool:
    """Whether words in a row spell the entry, written in one word or in several: `zipcode` says `zip_code`."""
    wanted, places = "".join(entry), range(len(words) + 1)
    return bool(wanted) and any("".join(words[i:j]) == wanted for i in places for j in places[i + 1 :])
