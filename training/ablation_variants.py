"""What `recsys ablate` takes out of the recipe, one thing at a time."""

from typing import NamedTuple

from recsys.features.spec import FeatureManifest
from recsys.modeling.encoding import GROUP_OF_VIEW, EncodingConfig
from recsys.schema import Modality

DEFAULT = "default"
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Of the customers, those whose acquisitions are labels: the points of the label curve."""
SUPERVISED, PRETRAINED, JOINT = "labels only", "pretrained", "beside the labels"
"""The lines of the label curve: no self-supervision; a phase before; views and clicks predicted beside the labels."""
CURVE = "labels"
CALIBRATION = "calibration"
_SAMPLED = ("model.loss.full_softmax_up_to=0",)
_IGNORED = EncodingConfig().ignore
_NO_RESPONSES = "ranking.response.enabled=false"
"""They reorder creatives and calibrate; the table is about products."""


class Variant(NamedTuple):
    """The default recipe with one thing changed."""

    name: str
    group: str
    overrides: tuple[str, ...]
    beside: str = DEFAULT
    """The variant that it is compared with."""


def variants_of(manifest: FeatureManifest) -> list[Variant]:
    """Every part that can be taken out of a dataset's model."""
    return [
        Variant(DEFAULT, "model", (_NO_RESPONSES,)),
        *_model(),
        *_loss(),
        *_modalities(manifest),
        _without("no contrastive alignment", "self-supervision", "model.loss.alignment_weight=0"),
        _without("no next-event prediction", "self-supervision", "labels.next_event=false"),
        _without("pretraining before the labels", "self-supervision", "pretrain.enabled=true"),
        _without("no second stage", "ranker", "ranking.enabled=false"),
        _without("no model of interest", "ranker", "ranking.interest.enabled=false"),
        _without("trees alone rank", "ranker", "ranking.rankers=[{objective: binary}, {objective: lambdarank}]"),
        Variant("responses calibrated", CALIBRATION, ("ranking.response.enabled=true",)),
        *_label_curve(),
    ]


def _without(name: str, group: str, *overrides: str, beside: str = DEFAULT) -> Variant:
    return Variant(name, group, (_NO_RESPONSES, *overrides), beside)


def _model() -> list[Variant]:
    return [
        _without("history by mean pooling", "model", "model.history.layers=0"),
        _without("fusion early", "model", "model.fusion.kind=early"),
        _without("fusion late", "model", "model.fusion.kind=late"),
        _without("no modality dropout", "model", "model.tower.modality_dropout=0"),
        _without("no id dropout", "model", "model.tower.id_dropout=0"),
    ]


def _loss() -> list[Variant]:
    sampled = "sampled softmax"
    return [
        _without(sampled, "loss", *_SAMPLED),
        _without("sampled, no logQ", "loss", *_SAMPLED, "model.loss.logq=false", beside=sampled),
        _without("sampled, no uniform negatives", "loss", *_SAMPLED, "model.loss.uniform_negatives=0", beside=sampled),
        _without("own items as negatives", "loss", "model.loss.mask_own_items=false"),
    ]


def _modalities(manifest: FeatureManifest) -> list[Variant]:
    """Two for each modality: a model that never sees it, in training or in serving, and one that sees nothing else.

    Customers' and items' views of one name go together; items keep all of theirs where a customer's modality stands
    alone, for the products have to be told apart.
    """
    keys: dict[str, list[str]] = {}
    own: dict[str, list[str]] = {str(Modality.HISTORY): []}
    for view in manifest.views:
        if view.name in GROUP_OF_VIEW:
            columns = [f"{view.name}__{column.name}" for column in view.columns]
            keys.setdefault(str(GROUP_OF_VIEW[view.name]), []).extend(columns)
            if view.name.startswith("customer_"):
                own.setdefault(str(GROUP_OF_VIEW[view.name]), []).extend(columns)
    found = [_without(f"no {group}", "modality", _ignoring(hidden)) for group, hidden in sorted(keys.items())]
    found.append(_without("no history", "modality", "encoding.history=false"))
    for alone in sorted(own):
        others = [key for group, hidden in own.items() if group != alone for key in hidden]
        history = str(alone == str(Modality.HISTORY)).lower()
        found.append(_without(f"{alone} alone", "modality", _ignoring(others), f"encoding.history={history}"))
    return found


def _ignoring(keys: list[str]) -> str:
    return f"encoding.ignore=[{', '.join([*_IGNORED, *keys])}]"


def _label_curve() -> list[Variant]:
    """Fewer labels, with and without self-supervision; the towers alone, for it is they that are pretrained."""
    found = []
    for share in SHARES:
        few = (f"labels.share={share}", "ranking.enabled=false", "ranking.cold.enabled=false")
        names = {line: curve_name(share, line) for line in (SUPERVISED, PRETRAINED, JOINT)}
        bare = ("labels.next_event=false", "model.loss.alignment_weight=0")
        warm = ("labels.next_event=false", "pretrain.enabled=true")
        found += [
            _without(names[PRETRAINED], CURVE, *few, *warm, beside=names[JOINT]),
            _without(names[SUPERVISED], CURVE, *few, *bare, beside=names[PRETRAINED]),
            _without(names[JOINT], CURVE, *few),
        ]
    return found


def curve_name(share: float, line: str) -> str:
    """The name of one point of the label curve.

    >>> curve_name(0.1, PRETRAINED)
    '10% of labels, pretrained'
    """
    return f"{share:.0%} of labels, {line}"
