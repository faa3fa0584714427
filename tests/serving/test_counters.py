"""Product capacity and contact caps: never one over, in SQLite and PostgreSQL, whoever asks at the same time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import func, select

from recsys.policy.pack import load_pack
from recsys.schema import PolicyName
from serving.store.capacity import CapacityStore, count_sale
from serving.store.contacts import ContactCap, ContactStore, PlannedContact, caps_of
from serving.store.database import Store
from serving.store.facts import FactStore
from serving.store.tables import contacts, product_capacity

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEEK = timedelta(days=7)
AT_ONCE = 100


def limited(store: Store, units: int, product: str = "p1") -> None:
    with store.writing() as connection:
        connection.execute(
            product_capacity.insert(), [{"product_id": product, "units": units, "sold": 0, "reserved": 0}]
        )


def taken(store: Store, product: str = "p1") -> tuple[int, int]:
    with store.reading() as connection:
        columns = (product_capacity.c.sold, product_capacity.c.reserved)
        row = connection.execute(select(*columns).where(product_capacity.c.product_id == product)).one()
    return int(row[0]), int(row[1])


def all_at_once(ask: Callable[[int], Any], count: int = AT_ONCE) -> Sequence[Any]:
    """What `count` threads get that start together."""
    barrier = Barrier(count)

    def one(number: int) -> Any:
        barrier.wait(30)
        return ask(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.mark.parametrize("units", [1, 37])
def test_capacity_hundred_at_once_never_one_over(store: Store, units: int) -> None:
    limited(store, units)
    book = CapacityStore(store)
    got = all_at_once(lambda number: book.reserve(f"r{number}", f"c{number}", "p1", NOW, HOUR))
    assert sum(got) == units
    assert taken(store) == (0, units)


def test_capacity_reserve_confirm_and_release_at_once_keep_the_books(store: Store) -> None:
    limited(store, 30)
    book = CapacityStore(store)

    def live(number: int) -> bool:
        name = f"r{number}"
        if not book.reserve(name, f"c{number}", "p1", NOW, HOUR):
            return False
        return book.release(name) is None if number % 2 else book.confirm(name)

    sold = sum(all_at_once(live))
    assert taken(store) == (sold, 0)
    assert sold <= 30


def test_capacity_same_reservation_at_once_takes_one_unit(store: Store) -> None:
    limited(store, 5)
    book = CapacityStore(store)
    assert all(all_at_once(lambda _: book.reserve("r1", "c1", "p1", NOW, HOUR), 20))
    assert taken(store) == (0, 1)


def test_capacity_released_and_expired_units_are_free_again(store: Store) -> None:
    limited(store, 1)
    book = CapacityStore(store)
    assert book.reserve("r1", "c1", "p1", NOW, HOUR)
    assert not book.reserve("r2", "c2", "p1", NOW, HOUR)
    assert book.release("r1")
    assert not book.release("r1")
    assert book.reserve("r2", "c2", "p1", NOW, HOUR)
    assert not book.reserve("r3", "c3", "p1", NOW + HOUR - timedelta(seconds=1), HOUR)
    assert book.reserve("r3", "c3", "p1", NOW + HOUR, HOUR)
    assert not book.confirm("r2")
    assert book.confirm("r3")
    assert book.confirm("r3")
    assert taken(store) == (1, 0)


def test_capacity_expired_reservation_is_no_fact_any_more(store: Store) -> None:
    limited(store, 1)
    CapacityStore(store).reserve("r1", "c1", "p1", NOW, HOUR)
    assert FactStore(store).read("c2", NOW).taken == {"p1": 1}
    assert FactStore(store).read("c2", NOW + HOUR).taken == {"p1": 0}


def test_capacity_released_reservation_is_not_taken_up_again(store: Store) -> None:
    limited(store, 5)
    book = CapacityStore(store)
    assert book.reserve("r1", "c1", "p1", NOW, HOUR)
    assert book.release("r1")
    assert not book.reserve("r1", "c1", "p1", NOW, HOUR)


def test_capacity_product_without_limit_is_always_there(store: Store) -> None:
    book = CapacityStore(store)
    assert book.reserve("r1", "c1", "p9", NOW, HOUR)
    assert book.confirm("r1")


@pytest.mark.parametrize(("confirmed", "expected"), [(True, (1, 0)), (False, (1, 0))])
def test_capacity_sale_that_was_reserved_counts_once(store: Store, confirmed: bool, expected: tuple[int, int]) -> None:
    limited(store, 5)
    book = CapacityStore(store)
    book.reserve("r1", "c1", "p1", NOW, HOUR)
    if confirmed:
        book.confirm("r1")
    with store.writing() as connection:
        count_sale(connection, "c1", "p1")
    assert taken(store) == expected
    assert book.confirm("r1")
    assert taken(store) == expected
    with store.writing() as connection:
        count_sale(connection, "c2", "p1")
    assert taken(store) == (2, 0)


def contact(number: int, channel: str = "email", customer: str = "anna", at: datetime = NOW) -> PlannedContact:
    return PlannedContact(f"m{number}-{customer}", customer, channel, "card", "p1", at)


def test_contacts_hundred_at_once_never_one_over(store: Store) -> None:
    book = ContactStore(store)
    caps = [ContactCap(9, WEEK), ContactCap(4, WEEK, channel="email")]
    refused = all_at_once(lambda number: book.reserve(contact(number, ("email", "sms")[number % 2]), caps, HOUR))
    assert refused.count(None) == 9
    with store.reading() as connection:
        rows = dict(connection.execute(select(contacts.c.channel, func.count()).group_by(contacts.c.channel)).all())
    assert rows["email"] <= 4
    assert sum(rows.values()) == 9


def test_contacts_cap_is_a_customers_own_and_named(store: Store) -> None:
    book, cap = ContactStore(store), ContactCap(1, WEEK, category="card")
    assert book.reserve(contact(1), [cap], HOUR) is None
    assert book.reserve(contact(1), [cap], HOUR) is None  # the same contact, asked again
    assert book.reserve(contact(2), [cap], HOUR) == cap
    assert book.reserve(contact(3, customer="bert"), [cap], HOUR) is None


def test_contacts_window_rolls_and_what_was_not_sent_does_not_count(store: Store) -> None:
    book, caps = ContactStore(store), [ContactCap(1, WEEK)]
    assert book.reserve(contact(1), caps, HOUR) is None
    assert book.release("m1-anna")
    assert book.reserve(contact(2), caps, HOUR) is None
    assert book.reserve(contact(3, at=NOW + HOUR), caps, HOUR) is None  # the second was not confirmed in time
    assert not book.confirm("m2-anna", NOW + HOUR)
    assert book.confirm("m3-anna", NOW + HOUR)
    assert not book.release("m3-anna")
    late = NOW + HOUR + WEEK
    assert book.reserve(contact(4, at=late - timedelta(seconds=1)), caps, HOUR) == caps[0]
    assert book.reserve(contact(5, at=late), caps, HOUR) is None


def test_contacts_are_facts_of_the_customer(store: Store) -> None:
    book = ContactStore(store)
    book.reserve(contact(1), [], HOUR)
    book.reserve(contact(2, at=NOW - timedelta(days=400)), [], timedelta(days=1000))
    found = FactStore(store).read("anna", NOW).contacts
    assert [(one.channel, one.category, one.at) for one in found] == [("email", "card", NOW)]
    assert not FactStore(store).read("anna", NOW + HOUR).contacts


def test_caps_of_the_bank_pack_hold_for_pushed_channels_only() -> None:
    pack = load_pack(PolicyName.BANK)
    assert caps_of(pack, pack.pushed_channels[0], "card")
    assert not caps_of(pack, "app", "card")
