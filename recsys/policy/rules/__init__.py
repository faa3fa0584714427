"""The rules, a family a file; `AnyRule` tells them apart by their id."""

from typing import Annotated

from pydantic import Field

from recsys.policy.rules.base import Categories, Groups, ProductGroups, RequestContext, Rule, RuleContext
from recsys.policy.rules.consent import ChannelConsentRule, MarketingConsentRule, ProfilingConsentRule
from recsys.policy.rules.contact import ContactCapRule, CoolOffRule, QuietHoursRule
from recsys.policy.rules.content import ContentExpiredRule, ContentLocaleRule, NotApprovedRule, PriceMismatchRule
from recsys.policy.rules.credit import ArrearsRule, SteeringRule
from recsys.policy.rules.eligibility import (
    AgeRule,
    ChannelRule,
    IncomeRule,
    JurisdictionRule,
    KycRule,
    ResidenceRule,
    SegmentRule,
)
from recsys.policy.rules.lifecycle import CapacityRule, NotLiveRule, PausedRule, SoldOutRule
from recsys.policy.rules.ownership import DeclinedRule, HeldRule, PendingRule, PrerequisiteRule
from recsys.policy.rules.staleness import DataStaleRule
from recsys.policy.rules.suitability import (
    AmountRule,
    ExpiredAssessmentRule,
    HorizonRule,
    KnowledgeRule,
    NegativeTargetRule,
    RiskRule,
    UnassessedRule,
    UnratedRule,
)
from recsys.policy.rules.vulnerability import VulnerabilityRule

AnyRule = Annotated[
    NotLiveRule
    | PausedRule
    | SoldOutRule
    | CapacityRule
    | HeldRule
    | PendingRule
    | DeclinedRule
    | PrerequisiteRule
    | AgeRule
    | ResidenceRule
    | SegmentRule
    | IncomeRule
    | KycRule
    | ChannelRule
    | JurisdictionRule
    | UnassessedRule
    | ExpiredAssessmentRule
    | UnratedRule
    | RiskRule
    | HorizonRule
    | AmountRule
    | KnowledgeRule
    | NegativeTargetRule
    | ArrearsRule
    | SteeringRule
    | VulnerabilityRule
    | MarketingConsentRule
    | ProfilingConsentRule
    | ChannelConsentRule
    | QuietHoursRule
    | ContactCapRule
    | CoolOffRule
    | NotApprovedRule
    | ContentExpiredRule
    | ContentLocaleRule
    | PriceMismatchRule
    | DataStaleRule,
    Field(discriminator="id"),
]
"""Any rule, told apart by its id; a new rule is a new class and a new name here."""

__all__ = [
    "AnyRule",
    "Categories",
    "ChannelConsentRule",
    "ContactCapRule",
    "DataStaleRule",
    "ExpiredAssessmentRule",
    "Groups",
    "ProductGroups",
    "ProfilingConsentRule",
    "RequestContext",
    "Rule",
    "RuleContext",
]
