"""What contact changes: learned from the drawn part of the history, and only used where it is surely better."""

from recsys.campaigns.uplift.choose import UpliftChoice, choose_learner
from recsys.campaigns.uplift.features import with_features
from recsys.campaigns.uplift.history import HistoryConfig, trials
from recsys.campaigns.uplift.randomisation import RandomisationCheck, check_randomisation

__all__ = [
    "HistoryConfig",
    "RandomisationCheck",
    "UpliftChoice",
    "check_randomisation",
    "choose_learner",
    "trials",
    "with_features",
]
