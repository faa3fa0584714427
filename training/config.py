"""The recipe of a training run: everything that `--config` and `--set` may change."""

from pydantic import Field

from recsys.config import BaseConfig
from recsys.features.config import FeatureConfig
from recsys.modeling.config import TwoTowerConfig
from recsys.modeling.encoding import EncodingConfig
from recsys.retrieval.popularity import PopularityConfig
from training.fairness.config import FairnessConfig
from training.labels import LabelsConfig
from training.loop import LoopConfig
from training.pretrain_config import PretrainConfig
from training.ranking_config import RankingConfig


class GateConfig(BaseConfig):
    """When a challenger becomes champion."""

    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the intervals."""
    needs_second_approver: bool = False
    """Somebody other than the trainer must approve, even where the policy pack does not ask for it; what the pack asks
    for cannot be turned off here, for the trainer writes the recipe."""


class EvaluationConfig(BaseConfig):
    """How models are measured."""

    k: int = Field(default=10, ge=1)
    """Length of the lists."""
    bootstrap_samples: int = Field(default=2000, ge=100)


class TrainConfig(BaseConfig):
    """The whole recipe; one default for every dataset."""

    features: FeatureConfig = FeatureConfig()
    encoding: EncodingConfig = EncodingConfig()
    labels: LabelsConfig = LabelsConfig()
    model: TwoTowerConfig = TwoTowerConfig()
    pretrain: PretrainConfig = PretrainConfig()
    loop: LoopConfig = LoopConfig()
    popularity: PopularityConfig = PopularityConfig()
    ranking: RankingConfig = RankingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    fairness: FairnessConfig = FairnessConfig()
    gate: GateConfig = GateConfig()
    refit: bool = True
    """After selection on validation, train again on every event with the chosen number of epochs."""
