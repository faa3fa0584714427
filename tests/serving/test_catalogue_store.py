"""The changes of the catalogue: numbered, kept, and had again as they were."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from recsys.schema import Kind
from serving.store.catalogue import CatalogueStore, Change
from serving.store.database import Store
from serving.store.facts import FactStore

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def change(item_id: str = "p1", kind: Kind = Kind.PRODUCTS, **columns: object) -> Change:
    row = {"name": "Saver", "available_from": NOW, **columns}
    return Change(
        str(kind), item_id, NOW, "catalogue team", row, b"png", {"product_text__text_vector": [0.5]}, "f" * 16
    )


def test_catalogue_put_is_read_back_as_it_was(store: Store) -> None:
    catalogue = CatalogueStore(store)
    assert (catalogue.head(), catalogue.items(), catalogue.latest(Kind.PRODUCTS, "p1")) == (0, [], None)
    put = catalogue.put(change())
    found = catalogue.latest(Kind.PRODUCTS, "p1")
    assert found is not None
    assert (put.number, found.number, catalogue.head()) == (1, 1, 1)
    assert found.change == change(available_from=NOW.isoformat())


def test_catalogue_same_put_again_is_the_same_revision(store: Store) -> None:
    catalogue = CatalogueStore(store)
    catalogue.put(change())
    assert catalogue.put(change()._replace(changed_at=NOW + timedelta(hours=1))).number == 1
    assert catalogue.put(change(name="Other")).number == 2
    assert catalogue.put(change()).number == 3  # back again is a change


def test_catalogue_every_state_can_be_had_again(store: Store) -> None:
    catalogue = CatalogueStore(store)
    catalogue.put(change(name="one"))
    catalogue.put(change("k1", Kind.CONTENTS))
    catalogue.put(change(name="two"))
    names = [[(item.change.item_id, item.change.columns["name"]) for item in catalogue.items(n)] for n in (1, 2, 3)]
    assert names == [[("p1", "one")], [("p1", "one"), ("k1", "Saver")], [("k1", "Saver"), ("p1", "two")]]
    assert catalogue.items() == catalogue.items(3)


def test_facts_come_with_the_items_that_changed_after_a_revision(store: Store) -> None:
    catalogue = CatalogueStore(store)
    changed = [FactStore(store).read_with_changes("c0", NOW, 0).changed]
    catalogue.put(change())
    catalogue.put(change("k1", Kind.CONTENTS))
    catalogue.put(change("p2"))
    changed += [FactStore(store).read_with_changes("c0", NOW, revision).changed for revision in (0, 2, 3)]
    two = {Kind.PRODUCTS: ["p1", "p2"], Kind.CONTENTS: ["k1"]}
    assert changed == [{}, two, {Kind.PRODUCTS: ["p2"]}, {}]


def test_catalogue_concurrent_puts_get_different_numbers(store: Store) -> None:
    catalogue = CatalogueStore(store)
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda n: catalogue.put(change(f"p{n}")).number, range(24)))
    assert sorted(numbers) == list(range(1, 25))
