"""Every recipe in the repository loads, opens with the command that runs it, and the written default is the default."""

from pathlib import Path

import pytest

from recsys.config import apply_overrides, read_yaml
from recsys.errors import ConfigError
from recsys.ranking.boosted import BoostedConfig
from recsys.ranking.linear import LinearConfig
from training.config import TrainConfig

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_recipe_loads_and_names_its_command(path: Path) -> None:
    TrainConfig.from_yaml(path)
    assert f"--config training/configs/{path.name}" in path.read_text()


def test_default_recipe_is_the_default() -> None:
    assert TrainConfig.from_yaml(CONFIGS / "default.yaml") == TrainConfig()


def test_overrides_reach_nested_settings_and_refuse_unknown_ones() -> None:
    config = TrainConfig.parse(apply_overrides({}, ["model.tower.dim=32", "loop.epochs=2"]), "--set")
    assert (config.model.tower.dim, config.loop.epochs) == (32, 2)
    with pytest.raises(ConfigError, match=r"loop\.epoch: unknown key"):
        TrainConfig.parse(apply_overrides({}, ["loop.epoch=2"]), "--set")


def test_ranker_without_an_objective_is_of_trees() -> None:
    rankers = {"rankers": [{"rounds": 30}, {"objective": "conditional", "l2": 5}, {"objective": "lambdarank"}]}
    trees, linear, lists = TrainConfig.parse({"ranking": rankers}, "recipe").ranking.rankers
    assert (trees, linear) == (BoostedConfig(rounds=30), LinearConfig(l2=5))
    assert lists.objective == "lambdarank"
    with pytest.raises(ConfigError, match=r"rankers\.0.*objective"):
        TrainConfig.parse({"ranking": {"rankers": [{"objective": "logit"}]}}, "recipe")


def test_yaml_with_an_impossible_date_is_a_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("since: 2026-13-01\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml"):
        read_yaml(file)
