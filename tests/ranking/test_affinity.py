"""The bilinear model finds what goes with what, gives each modality its part, and nothing to one that is missing."""

import numpy as np
import pytest
import torch

from recsys.features.spec import Entity
from recsys.modeling.encoding import ColumnEncoding, EntityEncoding, EntityRows, GroupEncoding
from recsys.ranking.affinity import Affinity, AffinityConfig, Learned, customer_blocks, product_basis
from recsys.ranking.affinity_fit import Softmax
from recsys.ranking.profiles import Arrays, Profiles
from recsys.schema import FeatureKind
from tests.ranking.worlds import draw_tables

CUSTOMERS, PRODUCTS = 600, 12
ENCODING = EntityEncoding(
    entity=Entity.CUSTOMER,
    groups=(
        GroupEncoding(
            name="profile",
            columns=(
                ColumnEncoding(key="profile__segment", kind=FeatureKind.CATEGORICAL, vocabulary=("a", "b", "c")),
                ColumnEncoding(key="profile__amount", kind=FeatureKind.NUMERIC),
            ),
        ),
        GroupEncoding(name="text", columns=(ColumnEncoding(key="text__vector", kind=FeatureKind.EMBEDDING, dim=6),)),
    ),
)


def draw_rows(rng: np.random.Generator) -> EntityRows:
    text = rng.standard_normal((CUSTOMERS, 6)).astype(np.float32)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    text[::5] = 0
    present = np.stack([np.ones(CUSTOMERS, bool), np.abs(text).sum(axis=1) > 0], axis=1)
    numeric = np.stack([rng.standard_normal(CUSTOMERS), np.zeros(CUSTOMERS)], axis=1).astype(np.float32)
    return EntityRows(
        rng.integers(0, 4, (CUSTOMERS, 1)),
        np.zeros((CUSTOMERS, 0, 8), np.int64),
        {"profile": numeric, "text": np.zeros((CUSTOMERS, 0), np.float32)},
        {"profile": np.zeros((CUSTOMERS, 0), np.float32), "text": text},
        present,
    )


@pytest.fixture(scope="module")
def world() -> tuple[Affinity, Arrays, np.ndarray, EntityRows]:
    """Customers take up the product that their text is nearest to; who wrote nothing takes any."""
    rng = np.random.default_rng(0)
    items, rows = draw_tables(rng, PRODUCTS), draw_rows(rng)
    nearest = (rows.vectors["text"] @ items.content.vectors["text"].T).argmax(axis=1)
    nearest[::5] = rng.integers(0, PRODUCTS, len(nearest[::5]))
    blocks = customer_blocks(ENCODING, Profiles.fit(rows, 6), rows)
    learned = Learned(np.arange(0, CUSTOMERS, 2), nearest[::2], np.ones(CUSTOMERS // 2, np.float32))
    config = AffinityConfig(l2=0.001, labels=2000)
    return Affinity.fit(blocks, product_basis(items.content, 6), learned, config), blocks, nearest, rows


def test_it_orders_products_for_customers_it_has_not_seen(
    world: tuple[Affinity, Arrays, np.ndarray, EntityRows],
) -> None:
    model, blocks, nearest, _ = world
    wrote = np.setdiff1d(np.arange(1, CUSTOMERS, 2), np.arange(0, CUSTOMERS, 5))
    hits = model.scores(blocks)["affinity"][wrote].argmax(axis=1) == nearest[wrote]
    assert hits.mean() > 0.5  # one in twelve by chance


def test_total_is_a_distribution_and_parts_are_nothing_where_the_modality_is_missing(
    world: tuple[Affinity, Arrays, np.ndarray, EntityRows],
) -> None:
    model, blocks, _, rows = world
    scores = model.scores(blocks)
    assert set(scores) == {"affinity", "affinity_profile", "affinity_text"}
    np.testing.assert_allclose(np.exp(scores["affinity"]).sum(axis=1), 1, rtol=1e-4)
    missing = ~rows.present[:, 1]
    assert missing.any()
    assert not scores["affinity_text"][missing].any()
    assert np.abs(scores["affinity_text"][~missing]).min(axis=1).max() > 0


def test_blocks_hold_each_category_by_itself_and_zero_for_the_unknown() -> None:
    rows = draw_rows(np.random.default_rng(3))
    block = customer_blocks(ENCODING, Profiles.fit(rows, 2), rows)["profile"]
    assert block.shape == (CUSTOMERS, 1 + 1 + 3)
    codes = rows.categorical[:, 0]
    np.testing.assert_array_equal(block[:, 2:], np.eye(4)[codes][:, 1:])
    np.testing.assert_array_equal(block[:, 1], rows.numeric["profile"][:, 0])


def test_arrays_give_the_same_model_back(world: tuple[Affinity, Arrays, np.ndarray, EntityRows]) -> None:
    model, blocks, _, _ = world
    again = Affinity.from_arrays(model.to_arrays(), ENCODING.group_names())
    assert again is not None
    for name, values in model.scores(blocks).items():
        np.testing.assert_array_equal(again.scores(blocks)[name], values)
    assert Affinity.from_arrays({}, ENCODING.group_names()) is None


def test_labels_are_drawn_by_their_weights(world: tuple[Affinity, Arrays, np.ndarray, EntityRows]) -> None:
    _, blocks, _, _ = world
    rows = np.arange(CUSTOMERS)
    product = rows % 2
    weight = np.where(product == 1, 9.0, 1.0).astype(np.float32)
    basis = np.eye(PRODUCTS, dtype=np.float32)
    model = Affinity.fit(blocks, basis, Learned(rows, product, weight), AffinityConfig(l2=10.0, labels=400))
    mean = np.exp(model.scores(blocks)["affinity"]).mean(axis=0)
    assert mean[1] / mean[0] == pytest.approx(9, rel=0.5)


def test_weights_that_single_precision_cannot_hold_are_drawn_by(
    world: tuple[Affinity, Arrays, np.ndarray, EntityRows],
) -> None:
    """numpy refuses chances that do not add up to one: 0.2 and 3 of them did not, summed in single precision."""
    _, blocks, nearest, _ = world
    products = product_basis(draw_tables(np.random.default_rng(0), PRODUCTS).content, 6)
    often = np.tile(np.arange(CUSTOMERS), 20)
    weight = np.where(often % 3 == 0, np.float32(3.0), np.float32(0.2))
    weight[nearest[often] == 0] = 0  # nobody counts whoever took up the first one
    config = AffinityConfig(l2=0.001, labels=2000)
    model = Affinity.fit(blocks, products, Learned(often, nearest[often], weight), config)
    assert model.bias.argmin() == 0


def test_loss_and_gradients_are_those_of_autograd() -> None:
    """Twice, for the table is used again; logits of a hundred would overflow if they were not centred."""
    torch.manual_seed(0)
    inputs, basis, target = torch.randn(40, 5), torch.randn(7, 3), torch.randint(0, 7, (40,))
    asked = Softmax(inputs, basis, target, l2=0.03)
    for scale in (30.0, 0.1):
        weights, bias = (scale * torch.randn(5, 3)).requires_grad_(), torch.randn(7).requires_grad_()
        logits = inputs @ weights @ basis.T + bias
        expected = torch.nn.functional.cross_entropy(logits, target) + 0.03 * (weights**2).sum()
        expected.backward()
        loss, by_weights, by_bias = asked.loss(weights, bias)
        torch.testing.assert_close(loss, expected.detach())
        torch.testing.assert_close(by_weights, weights.grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(by_bias, bias.grad, rtol=1e-4, atol=1e-6)
