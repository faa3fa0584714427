"""A model card in words: Markdown for people and for the registry."""

from collections.abc import Iterable
from typing import Any, Final

Card = dict[str, Any]
DESCRIPTION_LIMIT: Final = 5000
"""Characters that MLflow's registry keeps of a description."""
_REST = "\n\n… the whole card: `recsys model-card {version}`, or `model_card.md` among the run's artefacts\n"


def render_card(card: Card) -> str:
    """The whole card."""
    model = card["model"]
    parts = [
        f"# Model card: {model['name']} version {model['version']}",
        _approval(card),
        _section("Purpose", [card["purpose"], "", "Not for:", *_bullets(card["not_for"])]),
        _data(card),
        _metrics(card["metrics"]),
        _section("Gate", _bullets(card["gate"]["reasons"])),
        _fairness(card["fairness"]),
        _section("Limits", _bullets(card["limits"])),
        _architecture(card),
        _features(card),
    ]
    return "\n\n".join(parts) + "\n"


def render_description(card: Card) -> str:
    """As much of the card as the registry keeps, cut at the end of a line."""
    text = render_card(card)
    if len(text) <= DESCRIPTION_LIMIT:
        return text
    rest = _REST.format(version=card["model"]["version"])
    return text[: DESCRIPTION_LIMIT - len(rest)].rsplit("\n", 1)[0] + rest


def _approval(card: Card) -> str:
    approval, model = card["approval"], card["model"]
    approved = "nobody; the policy pack asks for nobody" if not approval["needs_approver"] else "nobody yet"
    if approval["approver"] is not None:
        approved = f"{approval['approver']}, {approval['approved_at']}"
    rows = [
        ("Gate", approval["gate"]),
        ("Trained by", f"{approval['trainer']}, {model['created_at']}"),
        ("Approved by", approved),
        ("Policy", card["policy"]),
        ("Model", f"{model['model_version']}, run {model['run_id']}, code {model['git_commit'][:12]}"),
    ]
    return "\n".join(_table(["", ""], rows))


def _data(card: Card) -> str:
    data = card["data"]
    lines = [
        f"Dataset `{data['dataset']}`, fingerprint `{data['fingerprint']}`; {data['labels']:,} positive events in the "
        f"training part, served weights know events until {data['trained_until']}.",
        f"Measured on {data['measured_on']}: {data['customers_measured']:,} customers.",
    ]
    return _section("Data", lines)


def _features(card: Card) -> str:
    lines = []
    for side, groups in card["features"].items():
        lines += [f"- {side}, {group}: {', '.join(columns)}" for group, columns in groups.items()]
    refused = [f"- `{column['key']}` ({column['kind']}: {column['entry']})" for column in card["refused_columns"]]
    return _section("Features", [*lines, "", "Refused, and in no input:", *(refused or ["- none"])])


def _architecture(card: Card) -> str:
    model = card["architecture"]
    second, prior = model["second_stage"], model["popularity_prior"]
    tried: Card = next((value for name, value in second.items() if name.startswith("validation_")), {})
    lines = [
        f"{model['first_stage'].capitalize()} of {model['dimension']} dimensions, {model['fusion']} fusion, popularity "
        f"prior {prior['weight']:.2f} ({prior['for_new_customers']:.2f} for new customers).",
        f"Second stage chosen on validation: **{second['chosen']}**, among {len(tried)} tried.",
    ]
    copies: Card | None = next((value for name, value in second.items() if name.startswith("one_missing_")), None)
    if copies is not None:
        lines += ["", *_copies(copies)]
    return _section("Model", lines)


def _copies(copies: Card) -> list[str]:
    """What copies of questions that lack a modality are worth, and whether they were learned from."""
    rows = [
        (name, f"{row['plain']:.3f}", f"{row['copies']:.3f}", _interval(row["copies_minus_plain"]))
        for name, row in copies["missing"].items()
    ]
    so = "Some questions were" if copies["learned_from_copies"] else "No question was"
    head = ["missing", "learned from whole questions", "and from copies", "difference"]
    return [f"{so} learned from once more with one modality missing. NDCG on validation:", "", *_table(head, rows)]


def _metrics(metrics: Card) -> str:
    k = metrics["k"]
    names = [f"ndcg@{k}", f"recall@{k}", f"mrr@{k}"]
    methods = [(_words(m), *(_interval(values[n]) for n in names)) for m, values in metrics["methods"].items()]
    slices = [(_words(name), _interval(value), f"{value['n']:,}") for name, value in metrics["slices"].items()]
    lines = [*_table(["", *names], methods), "", *_table(["slice", f"ndcg@{k}", "customers"], slices), ""]
    return _section("Metrics, with 95 % intervals", [*lines, f"Coverage of the catalogue: {metrics['coverage']:.2f}."])


def _fairness(fairness: Card) -> str:
    head = ["group", "customers", "credit exposure, ratio", "NDCG gap", "calibration gap", "probe AUC"]
    rows = []
    for name, values in fairness["attributes"].items():
        for group, entry in values["groups"].items():
            if entry["masked"]:
                rows.append((f"{name}: {group}", f"< {fairness['minimum_group']}", *["masked"] * 4))
                continue
            label = f"{name}: {group}" + (" (largest)" if group == values["reference"] else "")
            cells = [_interval(entry.get(key)) for key in ("credit_ratio", "ndcg_gap", "calibration_gap")]
            rows.append((label, f"{entry['customers']:,}", *cells, _interval(entry.get("probe", {}).get("auc"))))
    if not rows:
        return _section("Fairness", ["No groups: the policy pack names no column that the customers have."])
    lines = [*_table(head, rows), "", *_alarms(fairness), *_steering(fairness["steering"])]
    return _section("Fairness, by group against the largest", lines)


def _alarms(fairness: Card) -> list[str]:
    below = fairness["alarm_below"]
    found = [
        f"{alarm['attribute']} {alarm['group']}, {alarm['family']}: exposure {_interval(alarm['ratio'])}, candidates "
        f"that the rules leave {_interval(alarm['candidates_ratio'])}"
        for alarm in fairness["alarms"]
    ]
    lines = [f"Exposure below {below:g} of the largest group's, and not by chance:", *_bullets(found)]
    return [
        *(lines if found else [f"No exposure below {below:g} of the largest group's that chance does not explain."]),
        "",
    ]


def _steering(steering: Card | None) -> list[str]:
    if steering is None:
        return ["Steering: the catalogue has no two variants of a credit product, or the pack no such rule."]
    if steering["masked"]:
        return ["Steering: too few customers may choose between two variants of a credit product."]
    return [
        f"Steering: of the pairs of variants that {steering['customers']:,} customers may choose between, the model "
        f"scores the costlier one higher in {_interval(steering['costlier_ranked_above'])}; it is shown beside the "
        f"cheaper in {_interval(steering['costlier_shown'])}."
    ]


def _section(title: str, lines: Iterable[str]) -> str:
    return f"## {title}\n\n" + "\n".join(lines)


def _bullets(lines: Iterable[str]) -> list[str]:
    return [f"- {line}" for line in lines]


def _table(head: list[str], rows: Iterable[Iterable[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _interval(value: dict[str, float] | None) -> str:
    return "–" if value is None else f"{value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
