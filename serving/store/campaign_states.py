"""Where campaigns and their messages stand; see `serving.store.campaigns` for who moves them."""

from enum import StrEnum
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


LIVE: Final = (CampaignState.SCHEDULED, CampaignState.SENDING)
OPEN: Final = (MessageState.PENDING, MessageState.CLAIMED, MessageState.SENDING)
