"""Campaigns in SQL: four eyes, one winner, approvals of exact words, an outbox that loses and doubles nothing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest

from serving.store.campaign_states import CampaignState, MessageState
from serving.store.campaigns import CampaignError, CampaignStore, PlannedMessage, Submission
from serving.store.database import Store
from serving.store.erasure import erase_customer, find_customer
from serving.store.outbox import Outbox

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DIGEST = "d" * 64
VARIANT = {"content_id": "a1", "product_id": "p1", "content_hash": "h", "product_version": "v", "headline": "Hello"}


def submission(campaign_id: str = "x", digest: str = DIGEST) -> Submission:
    return Submission(campaign_id, "ann", digest, NOW + timedelta(days=9), {"name": "X"}, [VARIANT])


def messages(count: int, campaign_id: str = "x", channel: str = "email") -> list[PlannedMessage]:
    return [PlannedMessage(f"{campaign_id}{place}", f"c{place}", "p1", "a1", channel, NOW) for place in range(count)]


def launched(store: Store, count: int = 10, campaign_id: str = "x", channel: str = "email") -> CampaignStore:
    kept = CampaignStore(store)
    kept.submit(submission(campaign_id), NOW)
    kept.approve(campaign_id, "bob", DIGEST, NOW)
    kept.launch(campaign_id, DIGEST, messages(count, campaign_id, channel), "ann", NOW)
    return kept


@pytest.mark.parametrize("approver", ["ann", " Ann ", "ANN", " "])
def test_approve_by_the_author_is_refused(store: Store, approver: str) -> None:
    kept = CampaignStore(store)
    kept.submit(submission(), NOW)
    with pytest.raises(CampaignError, match="somebody else must approve"):
        kept.approve("x", approver, DIGEST, NOW)
    assert kept.get("x").state == CampaignState.SUBMITTED


def test_approve_of_other_words_is_refused(store: Store) -> None:
    kept = CampaignStore(store)
    kept.submit(submission(), NOW)
    with pytest.raises(CampaignError, match="not what was submitted"):
        kept.approve("x", "bob", "e" * 64, NOW)


def test_reject_sends_it_back_with_a_reason_and_it_may_be_submitted_again(store: Store) -> None:
    kept = CampaignStore(store)
    kept.submit(submission(), NOW)
    with pytest.raises(CampaignError, match="somebody else"):
        kept.reject("x", "ann", "no", NOW)
    with pytest.raises(CampaignError, match="say why"):
        kept.reject("x", "bob", "  ", NOW)
    rejected = kept.reject("x", "bob", "promises too much", NOW)
    assert (rejected.state, rejected.note) == (CampaignState.REJECTED, "promises too much")
    with pytest.raises(CampaignError, match="that is submitted can become approved; change what was criticised"):
        kept.approve("x", "bob", DIGEST, NOW)
    again = kept.submit(submission(), NOW)
    assert (again.state, again.note) == (CampaignState.SUBMITTED, None)


def test_two_approvers_at_once_one_wins_and_the_other_is_told_who(store: Store) -> None:
    kept = CampaignStore(store)
    kept.submit(submission(), NOW)
    barrier = Barrier(8)

    def approve(name: str) -> str:
        barrier.wait(30)
        try:
            return str(kept.approve("x", name, DIGEST, NOW).approver)
        except CampaignError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(approve, [f"bob{number}" for number in range(8)]))
    winner = kept.get("x").approver
    assert sum(answer == winner for answer in answers) == 1
    assert all(f"by {winner}" in answer for answer in answers if answer != winner)


def test_launch_needs_an_approval_of_the_same_words(store: Store) -> None:
    kept = CampaignStore(store)
    with pytest.raises(CampaignError, match="no campaign x"):
        kept.launch("x", DIGEST, messages(1), "ann", NOW)
    kept.submit(submission(), NOW)
    with pytest.raises(CampaignError, match=r"is submitted.*only one that is approved"):
        kept.launch("x", DIGEST, messages(1), "ann", NOW)
    kept.approve("x", "bob", DIGEST, NOW)
    with pytest.raises(CampaignError, match="changed after bob approved"):
        kept.launch("x", "e" * 64, messages(1), "ann", NOW)
    assert kept.progress("x") == {}
    assert kept.launch("x", DIGEST, messages(3), "ann", NOW).state == CampaignState.SCHEDULED
    with pytest.raises(CampaignError, match="is scheduled"):
        kept.launch("x", DIGEST, messages(3), "ann", NOW)
    assert kept.progress("x")["pending"].total() == 3


def test_submit_again_only_after_it_was_withdrawn_unsent(store: Store) -> None:
    kept = CampaignStore(store)
    kept.submit(submission(), NOW)
    with pytest.raises(CampaignError, match="withdraw it"):
        kept.submit(submission(), NOW)
    kept.withdraw("x", "ann", NOW)
    assert kept.submit(submission(digest="f" * 64), NOW).digest == "f" * 64
    assert kept.variants("x") == {"a1": VARIANT}
    launched(store, campaign_id="y").withdraw("y", "ann", NOW)
    with pytest.raises(CampaignError, match="another campaign_id"):
        kept.submit(submission("y"), NOW)


def test_pause_holds_what_is_claimed_and_withdraw_cancels_it(store: Store) -> None:
    kept = launched(store)
    outbox = Outbox(store, "one", MINUTE)
    first, second, *_ = outbox.claim(10, NOW)
    assert kept.get("x").state == CampaignState.SENDING
    assert outbox.begin(first, NOW)
    kept.pause("x", "ann", NOW)
    assert not outbox.begin(second, NOW)
    assert outbox.claim(10, NOW + 5 * MINUTE) == []
    assert outbox.settle(first, MessageState.SENT, None, NOW)
    kept.resume("x", "ann", NOW)
    assert len(Outbox(store, "two", MINUTE).claim(10, NOW + 5 * MINUTE)) == 9
    kept.withdraw("x", "ann", NOW)
    assert {state: count.total() for state, count in kept.progress("x").items()} == {"sent": 1, "cancelled": 9}
    with pytest.raises(CampaignError, match="is withdrawn"):
        kept.resume("x", "ann", NOW)


def test_claims_of_many_dispatchers_never_overlap(store: Store) -> None:
    launched(store, 200)
    barrier = Barrier(8)

    def claim(number: int) -> list[str]:
        outbox = Outbox(store, f"worker{number}", MINUTE)
        barrier.wait(30)
        got: list[str] = []
        while batch := outbox.claim(7, NOW):
            got += [message.message_id for message in batch]
        return got

    with ThreadPoolExecutor(8) as pool:
        claims = [one for got in pool.map(claim, range(8)) for one in got]
    assert len(claims) == len(set(claims)) == 200


def test_a_dead_dispatchers_messages_go_on_or_are_uncertain_but_never_doubled(store: Store) -> None:
    launched(store, 4, "x", "app")
    launched(store, 4, "y", "email")
    dead = Outbox(store, "dead", MINUTE)
    taken = dead.claim(8, NOW)
    assert all(dead.begin(message, NOW) for message in taken[:4] if message.channel == "app")
    assert all(dead.begin(message, NOW) for message in taken if message.channel == "email")
    alive = Outbox(store, "alive", MINUTE)
    assert alive.recover(["app"], NOW) == 0  # its lease has not ended
    late = NOW + 2 * MINUTE
    assert alive.recover(["app"], late) == 4
    again = alive.claim(99, late)
    assert {message.channel for message in again} == {"app"}
    assert len(again) == 4
    assert not dead.settle(again[0], MessageState.SENT, None, late)
    kept = CampaignStore(store)
    assert kept.progress("y") == {"uncertain": {"DISPATCHER_DIED": 4}}


def test_campaign_completes_when_nothing_is_open(store: Store) -> None:
    kept = launched(store, 2)
    outbox = Outbox(store, "one", MINUTE)
    first, second = outbox.claim(2, NOW)
    outbox.settle(first, MessageState.SENT, None, NOW)
    assert kept.complete_finished(NOW) == []
    outbox.settle(second, MessageState.DROPPED, "SUIT_RISK", NOW)
    assert kept.complete_finished(NOW) == ["x"]
    assert kept.get("x").state == CampaignState.COMPLETED


def test_erasure_takes_a_customer_off_the_lists(store: Store) -> None:
    launched(store, 3)
    assert "campaign_messages.customer_id" in find_customer(store, "c1")
    assert erase_customer(store, "c1")["campaign_messages"] == 1
    assert find_customer(store, "c1") == []


def test_unknown_campaign_is_said_by_name(store: Store) -> None:
    moves: list[Any] = [CampaignStore(store).pause, CampaignStore(store).resume, CampaignStore(store).withdraw]
    for move in moves:
        with pytest.raises(CampaignError, match="no campaign nothing"):
            move("nothing", "ann", NOW)
