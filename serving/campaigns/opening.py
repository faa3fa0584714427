"""Puts the parts of the workshop together for a running service."""

from recsys.home import Home
from serving.campaigns.bank import CampaignBank
from serving.campaigns.desk import CampaignDesk
from serving.campaigns.runner import JobRunner
from serving.campaigns.workshop import Workshop
from serving.engine import Clock
from serving.live_server import command_line
from serving.models import ModelHolder
from serving.settings import Settings
from serving.store.campaign_jobs import JobStore
from serving.store.database import Store


def open_workshop(settings: Settings, store: Store, models: ModelHolder, clock: Clock) -> Workshop:
    """Campaigns of the service's home and store; a job that was left over when the service ended is taken up again."""
    home = Home(settings.home)
    command = [str(command_line()), "--home", str(home.path), "campaign", "work"]
    return Workshop(
        desk=CampaignDesk(store, clock),
        bank=CampaignBank(home.path, models),
        runner=JobRunner(settings, JobStore(store), command),
        salt=home.campaign_salt(),
        folder=home.path / "campaigns",
        clock=clock,
    )
