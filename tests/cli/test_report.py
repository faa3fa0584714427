"""Reports fit a terminal of 80 columns and show what they were given."""

from rich.text import Text

from recsys.cli.report import describe_evaluation


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "n": 1234}


def test_describe_evaluation_fits_a_terminal_and_names_every_method_and_slice() -> None:
    metrics = {name: interval(0.5) for name in ("ndcg@10", "recall@10", "mrr@10", "ndcg@5")}
    report = {
        "dataset": "a-bank",
        "queries": 1234,
        "measured_on": "test",
        "k": 10,
        "methods": {"model": metrics, "segment_popularity": metrics, "oracle": metrics},
        "differences": {"segment_popularity": interval(0.1)},
        "share_of_oracle_ndcg@5": 0.5,
        "coverage": 0.25,
        "slices": {"new_customers": interval(0.2), "without_behaviour": interval(0.3)},
    }
    lines = [Text.from_markup(line).plain for line in describe_evaluation(report)]
    assert max(len(line) for line in lines) <= 80
    text = "\n".join(lines)
    for expected in ("segment popularity", "oracle", "new customers", "without behaviour", "50.0%", "1,234"):
        assert expected in text
