"""Where campaigns and their messages stand; see `serving.store.campaigns` for who moves them."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class CampaignState(StrEnum):
    """Where a campaign stands."""

    DRAFT = "draft"
    GENERATED = "generated"
    VALIDATED = "validated"
    SUBMITTED = "submitted"
    REJECTED = "rejected"
    APPROVED = "approved"
    SCHEDULED = "scheduled"
    SENDING = "sending"
    PAUSED = "paused"
    COMPLETED = "completed"
    WITHDRAWN = "withdrawn"


class MessageState(StrEnum):
    """Where a message stands."""

    PENDING = "pending"
    IN_APP = "in_app"
    """It waits where the customer comes by himself (`serving.store.in_app`)."""
    CLAIMED = "claimed"
    SENDING = "sending"
    SENT = "sent"
    DROPPED = "dropped"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    """The dispatcher died while its channel had it, and the channel cannot tell: it is not sent again."""
    CANCELLED = "cancelled"


NEXT_STEPS: Final[Mapping[CampaignState, str]] = MappingProxyType(
    {
        CampaignState.DRAFT: "have it planned",
        CampaignState.GENERATED: "have it checked",
        CampaignState.VALIDATED: "submit it",
        CampaignState.SUBMITTED: "approve, reject or withdraw it",
        CampaignState.REJECTED: "change what was criticised, and submit it again",
        CampaignState.APPROVED: "launch or withdraw it",
        CampaignState.SCHEDULED: "pause or withdraw it",
        CampaignState.SENDING: "pause or withdraw it",
        CampaignState.PAUSED: "resume or withdraw it",
        CampaignState.COMPLETED: "begin another one",
        CampaignState.WITHDRAWN: "begin another one",
    }
)
"""What can be done with a campaign from where it stands: told to who wanted something else."""
LIVE: Final = (CampaignState.SCHEDULED, CampaignState.SENDING)
OPEN: Final = (MessageState.PENDING, MessageState.CLAIMED, MessageState.SENDING)
