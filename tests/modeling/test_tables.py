"""What serves embeds as what was trained."""

import torch

from recsys.modeling.tables import Jagged, TableSize, plain_tables, torchrec_tables

SIZES = [
    TableSize("colour_table", "colour", 5, 3),
    TableSize("tags_table", "tags", 7, 3),
    TableSize("id_table", "id", 4, 8),
]
BATCH = Jagged(
    ("colour", "tags", "id"),
    torch.tensor([1, 0, 4, 6, 6, 2, 3, 1, 0]),
    torch.tensor([1, 1, 1, 0, 3, 0, 1, 1, 1]),
    (3, 3, 3),
)


def test_plain_tables_take_torchrecs_weights_and_give_its_numbers() -> None:
    trained, plain = torchrec_tables(SIZES), plain_tables(SIZES)
    plain.module.load_state_dict(trained.module.state_dict(), strict=True)
    expected, found = trained.embed(BATCH), plain.embed(BATCH)
    assert set(found) == set(expected) == {"colour", "tags", "id"}
    for key, vectors in expected.items():
        torch.testing.assert_close(found[key], vectors, rtol=0, atol=0)
    assert not found["tags"][0].any()
    assert not torch.equal(found["tags"][1], found["tags"][0])


def test_torchrecs_batch_knows_its_keys_sizes_so_that_no_device_is_asked_for_them() -> None:
    keyed = torchrec_tables(SIZES).reads(BATCH)
    assert keyed.length_per_key_or_none() == [3, 3, 3]
    assert keyed.offset_per_key_or_none() == [0, 3, 6, 9]
    assert keyed["tags"].lengths().tolist() == [0, 3, 0]
