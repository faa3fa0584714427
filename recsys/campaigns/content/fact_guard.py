"""Accepts copy only if it states the catalogue's facts, in approved words, and nothing else.

Numbers are not parsed and compared: a figure may stand only inside one of the approved ways to state a fact of this
very product (`fact_phrases`), and outside those there may be no digit, number word, percentage, currency or date in any
script. A rewrite must besides keep to a closed vocabulary, because no list of forbidden claims is ever complete.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from recsys.campaigns.content.blocks import disclaimer_of, fact_phrases
from recsys.campaigns.content.channels import DEFAULT_CHANNELS, ChannelLimits, columns, limits_of
from recsys.campaigns.content.facts import ProductFacts
from recsys.campaigns.content.folding import fold, skeleton
from recsys.campaigns.content.quantities import FactMasker, find_quantities
from recsys.campaigns.content.rulebook import Rulebook, load_rulebook
from recsys.campaigns.content.variant import Copy, Variant
from recsys.config import BaseConfig


class Violation(NamedTuple):
    """One broken rule and where."""

    rule: str
    detail: str


class GuardContext(BaseConfig):
    """Where copy is to be shown, and by whom it was written."""

    language: str
    channel: str
    strict: bool = True
    """Written by a machine: closed vocabulary, closed alphabet and approved calls besides."""
    other_names: tuple[str, ...] = ()
    """Names of the catalogue's other products, which this copy may not name."""


def check_copy(copy: Copy, facts: ProductFacts, limits: ChannelLimits, context: GuardContext) -> list[Violation]:
    """Every rule that `copy` breaks; empty when it may be shown to an approver.

    Raises:
        ConfigError: there are no approved blocks in the copy's language.
    """
    rules = load_rulebook(context.language)
    found = [*_check_fit(copy, limits), *_check_legal_text(copy, facts, rules, context.channel)]
    masker = FactMasker(facts.name, fact_phrases(facts, rules.blocks), rules)
    for field in ("headline", "body", "cta"):
        text = getattr(copy, field)
        if not text.strip():
            found.append(Violation("empty", field))
        found += [Violation(rule, f"{field}: {detail}") for rule, detail in _check_text(text, masker, context, rules)]
    if facts.name not in copy.headline + "\n" + copy.body:
        found.append(Violation("product_name", f"`{facts.name}` is named nowhere"))
    if context.strict and copy.cta not in {call for calls in rules.blocks.calls.values() for call in calls}:
        found.append(Violation("call", f"`{copy.cta}` is no approved call"))
    return found


def validate_variant(
    variant: Variant,
    facts: ProductFacts,
    other_names: Sequence[str] = (),
    channels: Mapping[str, ChannelLimits] = DEFAULT_CHANNELS,
) -> list[Violation]:
    """Every reason why `variant` may not be approved or sent now: its copy, its hash, its product's version."""
    context = GuardContext(
        language=variant.language,
        channel=variant.channel,
        strict=variant.source == "model",
        other_names=tuple(other_names),
    )
    found = check_copy(variant.copy_text, facts, limits_of(variant.channel, channels), context)
    if variant.product_id != facts.product_id:
        found.append(Violation("product", f"facts are of {facts.product_id}, the variant of {variant.product_id}"))
    elif variant.product_version != facts.version:
        found.append(Violation("product_version", "the catalogue's facts have changed since the copy was written"))
    if variant.content_hash != variant.hash_of():
        found.append(Violation("content_hash", "the variant has changed since its hash was taken"))
    if variant.source == "model" and not variant.machine_made:
        found.append(Violation("label", "machine-made copy must be labelled so"))
    return found


def _check_fit(copy: Copy, limits: ChannelLimits) -> list[Violation]:
    widths = {"headline": limits.headline, "body": limits.body, "cta": limits.cta}
    found = [
        Violation("length", f"{field} takes {columns(getattr(copy, field))} columns, the channel has {limit}")
        for field, limit in widths.items()
        if columns(getattr(copy, field)) > limit
    ]
    total = columns(" ".join(copy))
    if total > limits.total:
        found.append(Violation("length", f"all together takes {total} columns, the channel has {limits.total}"))
    return found


def _check_legal_text(copy: Copy, facts: ProductFacts, rules: Rulebook, channel: str) -> list[Violation]:
    disclaimer = disclaimer_of(facts, rules.blocks)
    found = []
    if disclaimer is None:
        found.append(Violation("disclaimer", f"the catalogue lacks a fact that the {facts.category} disclaimer states"))
    elif copy.disclaimer != disclaimer:
        found.append(Violation("disclaimer", f"must be exactly: {disclaimer}"))
    if copy.opt_out != rules.blocks.opt_out_of(channel):
        found.append(Violation("opt_out", f"must be exactly: {rules.blocks.opt_out_of(channel)}"))
    return found


def _check_text(text: str, masker: FactMasker, context: GuardContext, rules: Rulebook) -> list[tuple[str, str]]:
    masked = masker.mask(text)
    found = [*_check_claims(text, rules), *find_quantities(masked, rules), *masker.misused(masked)]
    found += [("product_name", f"`{name}`") for name in _foreign_names(text, masker.name, context.other_names)]
    if masker.extended(masked):
        found.append(("product_name", f"`{masker.name}` is extended"))
    if re.search(r"[\x00-\x1f\x7f<>{}\[\]|\\^~`_*#]", text):
        found.append(("markup", "control characters or markup"))
    if context.strict:
        found += _check_closed(masker.remainder(masked), rules)
    return found


def _check_claims(text: str, rules: Rulebook) -> list[tuple[str, str]]:
    letters, folded = skeleton(text), fold(text)
    found = [("claim", claim) for form, claim in rules.claims.items() if form in letters]
    found += [("instruction", words) for form, words in rules.instructions.items() if form in letters]
    contact = rules.contacts.search(folded)
    return [*found, ("contact", contact.group())] if contact else found


def _foreign_names(text: str, own: str, others: Sequence[str]) -> list[str]:
    rest = fold(text.replace(own, " "))
    return [name for name in others if name != own and name not in own and fold(name) in rest]


def _check_closed(rest: str, rules: Rulebook) -> list[tuple[str, str]]:
    """Letters and words of `rest`, the text without names and facts, that are not approved."""
    if rules.language == "zh":
        foreign = sorted({c for c in rest if c not in rules.words.letters and c not in rules.vocabulary})
        return [("vocabulary", "".join(foreign))] if foreign else []
    strange = sorted({c for c in rest if c not in rules.words.letters})
    found = [("alphabet", " ".join(f"U+{ord(c):04X}" for c in strange))] if strange else []
    words = re.findall(r"[^\W\d_]+", rest.replace("’", "'"))
    unknown = sorted({word for word in words if word.lower() not in rules.vocabulary and word not in {"s", "t", "I"}})
    return [*found, ("vocabulary", " ".join(unknown))] if unknown else found
