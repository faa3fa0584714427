"""Composed pictures: the channel's size, same bytes twice, labelled in sight and in metadata; choice by vectors."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from recsys.campaigns.content.channels import DEFAULT_CHANNELS
from recsys.campaigns.content.fact_guard import validate_variant
from recsys.campaigns.content.pictures import PictureConfig, choose_pictures, compose_picture, illustrate, read_label
from tests.campaigns.content.catalogue import products, variants


@pytest.mark.parametrize("channel", [name for name, limits in DEFAULT_CHANNELS.items() if limits.image])
def test_compose_picture_has_the_channels_size_and_label(channel):
    variant, size = variants("en", (channel,))[0], DEFAULT_CHANNELS[channel].image
    content = compose_picture(variant, "savings", size, PictureConfig(provider="Northlight"))
    assert content == compose_picture(variant, "savings", size, PictureConfig(provider="Northlight"))
    label = read_label(content)
    assert (label["MachineMade"], label["Provider"], label["ContentId"]) == ("true", "Northlight", variant.content_id)
    assert json.loads(label["AIGC"])["ProduceID"] == variant.content_id
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == size
        plate = np.asarray(image.convert("L"), float)[-round(0.08 * min(size)) :, -round(0.3 * min(size)) :]
    assert plate.max() - plate.min() > 120  # light letters on a dark plate


def test_illustrate_seals_the_picture_into_the_approval(tmp_path):
    made = illustrate(
        variants("zh", ("push", "sms"))[:12], {p.product_id: p for p in products("zh")}, tmp_path, PictureConfig()
    )
    for variant in made:
        assert validate_variant(variant, next(p for p in products("zh") if p.product_id == variant.product_id)) == []
        assert (variant.image is not None) == (variant.channel == "push") == variant.machine_made
    swapped = made[0].model_copy(update={"image_hash": "0" * 64})
    assert [v.rule for v in validate_variant(swapped, products("zh")[0])] == ["content_hash"]


def test_choose_pictures_takes_the_nearest_and_breaks_ties_by_order():
    pictures = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert choose_pictures(np.array([[2.0, 0.1], [-1.0, 3.0]]), pictures).tolist() == [0, 1]
