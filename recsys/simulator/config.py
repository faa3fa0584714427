"""What a simulated bank looks like: its size, its period, its language and its seed."""

from datetime import UTC, date, datetime, timedelta
from typing import Literal

from pydantic import Field, model_validator

from recsys.config import BaseConfig

Language = Literal["en", "zh"]


class ResponseConfig(BaseConfig):
    """How customers respond: the numbers of the true probabilities (preference.py)."""

    need: float = Field(default=7.0, ge=0)
    """Utility of a product that serves a need fully, at full strength."""
    values: float = Field(default=0.9, ge=0)
    """Utility of one unit of what the customer looks for in a product."""
    quality: float = Field(default=1.6, ge=0)
    """Utility of a product's own quality."""
    click_base: float = -2.1
    """Log-odds of a click on an item that is looked at, at utility 0."""
    click_utility: float = Field(default=0.42, ge=0)
    tone: float = Field(default=0.4, ge=0)
    angle: float = Field(default=0.35, ge=0)
    picture: float = Field(default=0.55, ge=0)
    """Log-odds of a click a unit of utility, liking of the tone, of the angle, of the picture."""
    fatigue: float = Field(default=0.06, ge=0)
    """Log-odds of a click lost for each recent impression; five times as much for one of the same product."""
    apply_base: float = -4.8
    apply_utility: float = Field(default=0.8, ge=0)
    """Log-odds of an application after a click."""
    convert_base: float = -0.6
    convert_utility: float = Field(default=0.3, ge=0)
    """Log-odds of a conversion after an application."""
    organic_rate: float = Field(default=6.5e-6, ge=0)
    """Unprompted applications a day for a product of utility 0."""
    organic_utility: float = Field(default=1.3, ge=0)
    """Log-rate of unprompted applications a unit of utility."""
    view_rate: float = Field(default=0.03, ge=0)
    """Unprompted looks at a product page, a day."""
    satisfied: float = Field(default=0.7, ge=0, le=1)
    """Share of a need that goes with an acquisition that serves it fully."""


class SimulatorConfig(BaseConfig):
    """Everything that decides a bank: two equal configs write the same bytes."""

    customers: int = Field(default=5000, ge=10, le=5_000_000)
    """Customers in the bank, new ones included."""
    products: int = Field(default=80, ge=10, le=120)
    """Products in the catalogue, of all ten families."""
    days: int = Field(default=180, ge=28, le=720)
    """Length of the observed period in days."""
    language: Language = "en"
    """Language of names, copy and messages."""
    seed: int = Field(default=7, ge=0)
    """The only source of randomness."""
    creatives_per_product: tuple[int, int] = (4, 8)
    """Fewest and most creatives of a product."""
    end_date: date = date(2026, 6, 30)
    """The last day of the period: fixed, so that nothing depends on the clock."""
    validation_share: float = Field(default=0.8, gt=0, lt=1)
    """Share of the period before the validation part starts."""
    test_share: float = Field(default=0.9, gt=0, lt=1)
    """Share of the period before the test part starts."""
    control_share: float = Field(default=0.08, ge=0, le=0.5)
    """Share of customers in the global holdout, who are never shown anything."""
    explore_share: float = Field(default=0.10, ge=0, le=0.5)
    """Share of customers whose offers are drawn uniformly from what is allowed."""
    epsilon: float = Field(default=0.15, ge=0, le=1)
    """Weight of the uniform part in the treatment arm's mixture."""
    transactions_per_customer: float = Field(default=85.0, ge=0)
    """Expected transactions of an active customer over 180 days."""
    messages_per_customer: float = Field(default=6.0, ge=0)
    """Expected messages over 180 days of a customer who writes at all (about 70 % do)."""
    canary_share: float = Field(default=0.006, ge=0, le=1)
    """Share of chats with an invented card number, IBAN, telephone number, e-mail, identity number or name."""
    sent_pictures: int = Field(default=288, ge=12)
    """Size of the pool of pictures that customers send."""
    response: ResponseConfig = ResponseConfig()
    """The numbers of the true probabilities."""
    truth_offers: int = Field(default=20, ge=1)
    """How many of a customer's best offers `truth/offers` keeps."""
    truth_customers: int = Field(default=1000, ge=1)
    """Of how many customers, drawn at random, `truth/creatives` keeps all creatives."""
    truth_contacts: int = Field(default=5000, ge=1)
    """Of how many customers, drawn at random, `truth/contacts` keeps what a contact changes."""
    block_size: int = Field(default=5000, ge=10)
    """Customers simulated at once: the bound on memory. Another size draws another bank."""

    @model_validator(mode="after")
    def _check_order(self) -> "SimulatorConfig":
        low, high = self.creatives_per_product
        if not 1 <= low <= high <= 12:
            raise ValueError(f"creatives_per_product must be (fewest, most) within 1..12, is {low, high}")
        if self.validation_share >= self.test_share:
            raise ValueError("validation_share must be below test_share")
        if self.control_share + self.explore_share >= 1:
            raise ValueError("control_share and explore_share must leave room for the treatment arm")
        return self

    @property
    def start(self) -> datetime:
        """Midnight UTC at which the first day starts."""
        return self.end - timedelta(days=self.days)

    @property
    def end(self) -> datetime:
        """Midnight UTC after the last day: every time in the dataset is before it."""
        return datetime(self.end_date.year, self.end_date.month, self.end_date.day, tzinfo=UTC) + timedelta(days=1)

    @property
    def validation_day(self) -> int:
        """First day of the validation part, counted from the start."""
        return round(self.days * self.validation_share)

    @property
    def test_day(self) -> int:
        """First day of the test part, counted from the start."""
        return max(round(self.days * self.test_share), self.validation_day + 1)

    @property
    def blocks(self) -> int:
        """How many blocks the customers are simulated in."""
        return -(-self.customers // self.block_size)
