"""The dispatcher: what is due leaves, if at this moment it still may."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

from recsys.campaigns.dressing import anchor_of, undressed
from recsys.decisions.pipeline import DecisionPipeline
from recsys.policy.rules import RequestContext
from recsys.schema import Kind
from serving.campaigns.channels import Channel, DeliveryError, Message
from serving.store.campaign_states import MessageState
from serving.store.campaigns import Campaign, CampaignStore
from serving.store.catalogue import CatalogueStore
from serving.store.contacts import ContactStore, PlannedContact, caps_of
from serving.store.database import Store
from serving.store.facts import FactStore
from serving.store.outbox import Outbox, OutboxMessage

LEASE: Final = timedelta(minutes=2)
BATCH: Final = 100
MOST_ATTEMPTS: Final = 5
QUIET: Final = "CONTACT_QUIET"
_CAP: Final = "CONTACT_CAP"
_LATER: Final = timedelta(minutes=15)
_FIRST_WAIT: Final = timedelta(minutes=1)


class Verdict(NamedTuple):
    """What is to be done with a message."""

    reason: str | None
    """None: it may leave."""
    later: bool = False
    """It may leave later."""


class Bank(NamedTuple):
    """What is true at the time of dispatch."""

    store: Store
    pipeline: DecisionPipeline
    """With the policy and the catalogue of now."""
    versions: Mapping[str, tuple[str, str]]
    """Of the catalogue's creatives, content id to its hash and its product's version, as they are now."""
    facts: Mapping[str, str] = MappingProxyType({})
    """Product id to the version of the facts that composed copy may state, as it is now."""

    def version_of(self, variant: Mapping[str, object]) -> tuple[str, str] | None:
        """Hash and product version of a variant as they are now; None: it is gone."""
        composed = undressed(variant)
        if composed is None:
            return self.versions.get(str(variant["content_id"]))
        facts = self.facts.get(composed.product_id)
        return None if facts is None else (composed.hash_of(), facts)


class Dispatcher:
    """Sends what is due.

    Args:
        bank: what is true now.
        channels: name to adapter; of others nothing leaves.
        worker: its own name.
    """

    def __init__(self, bank: Bank, channels: Mapping[str, Channel], worker: str) -> None:
        self._bank = bank
        self._channels = channels
        self._outbox = Outbox(bank.store, worker, LEASE)
        self._campaigns = CampaignStore(bank.store)
        self._contacts = ContactStore(bank.store)
        self._facts = FactStore(bank.store)
        self._changes = CatalogueStore(bank.store)
        catalogue = bank.pipeline.catalogue
        self._places = {name: place for place, name in enumerate(catalogue.ids(Kind.CONTENTS))}

    def run_once(self, now: datetime) -> Counter[str]:
        """Sends what is due at `now`, all of it; returns how many messages came to which end."""
        counts: Counter[str] = Counter()
        once = [name for name, channel in self._channels.items() if channel.once]
        if uncertain := self._outbox.recover(once, now):
            counts[MessageState.UNCERTAIN] += uncertain
        while batch := self._outbox.claim(BATCH, now):
            known: dict[str, tuple[Campaign, dict[str, dict[str, object]]]] = {}
            for message in batch:
                if message.campaign_id not in known:
                    campaign = self._campaigns.get(message.campaign_id)
                    known[message.campaign_id] = campaign, self._campaigns.variants(message.campaign_id)
                counts[self._dispatch(message, *known[message.campaign_id], now)] += 1
        for _ in self._campaigns.complete_finished(now):
            counts["campaigns completed"] += 1
        return counts

    def _dispatch(
        self, message: OutboxMessage, campaign: Campaign, variants: Mapping[str, dict[str, object]], now: datetime
    ) -> str:
        verdict = self._judge(message, campaign, variants, now)
        if verdict.later and verdict.reason is not None:
            self._outbox.put_off(message, now + _LATER, verdict.reason)
            return "put off"
        if verdict.reason is not None:
            self._contacts.release(message.message_id)
            self._outbox.settle(message, MessageState.DROPPED, verdict.reason, now)
            return MessageState.DROPPED
        if not self._outbox.begin(message, now):  # paused or withdrawn meanwhile
            self._contacts.release(message.message_id)
            self._outbox.put_off(message, now, "PAUSED")
            return "held"
        return self._send(message, dict(variants[message.content_id]), now)

    def _send(self, message: OutboxMessage, copy: dict[str, object], now: datetime) -> str:
        whole = Message(
            message.message_id,
            message.campaign_id,
            message.customer_id,
            message.channel,
            message.product_id,
            message.content_id,
            copy,
        )
        try:
            self._channels[message.channel].deliver(whole)
        except DeliveryError as error:
            self._contacts.release(message.message_id)
            if error.transient and message.attempts + 1 < MOST_ATTEMPTS:
                self._outbox.put_off(message, now + _FIRST_WAIT * 2**message.attempts, "DELIVERY_FAILED")
                return "put off"
            self._outbox.settle(message, MessageState.FAILED, "DELIVERY_FAILED", now)
            return MessageState.FAILED
        self._contacts.confirm(message.message_id, now)
        self._outbox.settle(message, MessageState.SENT, None, now)
        return MessageState.SENT

    def _judge(
        self, message: OutboxMessage, campaign: Campaign, variants: Mapping[str, dict[str, object]], now: datetime
    ) -> Verdict:
        """Whether a message may leave now: everything that the plan looked at, looked at again."""
        if now >= campaign.ends_at:
            return Verdict("CAMPAIGN_OVER")
        if message.channel not in self._channels:
            return Verdict("NO_SUCH_CHANNEL", later=True)
        variant = variants.get(message.content_id)
        if variant is None or (creative := anchor_of(variant)) not in self._places:
            return Verdict("CONTENT_GONE")
        approved = (str(variant["content_hash"]), str(variant["product_version"]))
        if self._bank.version_of(variant) != approved or self._was_put(message.product_id, creative):
            return Verdict("CHANGED_SINCE_APPROVAL")
        verdict = self._ask_policy(message, creative, now)
        return verdict if verdict.reason is not None else self._reserve(message, now)

    def _was_put(self, product_id: str, creative: str) -> bool:
        """Whether the product or the creative was changed over the API, whenever: nobody approved that."""
        return (
            self._changes.latest(Kind.PRODUCTS, product_id) is not None
            or self._changes.latest(Kind.CONTENTS, creative) is not None
        )

    def _ask_policy(self, message: OutboxMessage, creative: str, now: datetime) -> Verdict:
        pipeline = self._bank.pipeline
        catalogue, policy = pipeline.catalogue, pipeline.policy
        record = self._facts.read(message.customer_id, now)
        if record.facts is None or catalogue.contents is None:
            return Verdict("UNKNOWN_CUSTOMER")
        facts = record.as_facts(catalogue.products)
        if policy.stale(facts, now)[0]:
            return Verdict("FACTS_STALE", later=True)
        if policy.profiling_refused(facts, now)[0]:
            return Verdict("CONSENT_PROFILING")
        context = RequestContext(channel=policy.pack.channel(message.channel), taken=record.taken)
        outcome = policy.evaluate_contents(facts, catalogue.contents, catalogue.products, now, context)
        place = int(outcome.rule[0, self._places[creative]])
        if place < 0:
            return Verdict(None)
        rule = outcome.rule_ids[place]
        return Verdict(rule, later=rule == QUIET)

    def _reserve(self, message: OutboxMessage, now: datetime) -> Verdict:
        """Counts the contact against the caps, under the customer's own lock."""
        products = self._bank.pipeline.catalogue.products
        category = products.category[products.index[message.product_id]] or None
        channel = self._bank.pipeline.policy.pack.channel(message.channel)
        contact = PlannedContact(
            message.message_id, message.customer_id, channel or message.channel, category, message.product_id, now
        )
        caps = caps_of(self._bank.pipeline.policy.pack, message.channel, category)
        return Verdict(None if self._contacts.reserve(contact, caps, LEASE) is None else _CAP)
