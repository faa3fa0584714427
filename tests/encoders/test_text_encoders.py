"""Text encoders against the same computation written out with transformers, and against what is known."""

import doctest
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from recsys.encoders import weights
from recsys.encoders.image import ImageEncoderConfig, build_image_encoder
from recsys.encoders.runtime import Precision, choose_runtime
from recsys.encoders.text import TextEncoderConfig, build_text_encoder
from recsys.errors import ConfigError

TEXTS = ["a home loan", "pizza recipe with cheese and cheese and cheese", "card", "the rate of a savings bank", "home"]


def tiny(folder: Path, **settings: object) -> TextEncoderConfig:
    return TextEncoderConfig.model_validate({"model": str(folder), "precision": "float32", "batch_size": 2, **settings})


def cosines(vectors: np.ndarray) -> np.ndarray:
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    return vectors @ vectors.T


def one_by_one(folder: Path, max_length: int, padding: str | bool) -> list[tuple[object, dict]]:
    """The tokens of each text by itself: what a batch with padding must not change."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    options = {"truncation": True, "max_length": max_length, "padding": padding, "return_tensors": "pt"}
    return [tokenizer(text, **options) for text in TEXTS]


def test_bert_batches_of_mixed_lengths_equal_direct_mean_pooling(bert_folder):
    model = AutoModel.from_pretrained(bert_folder).eval()
    expected = []
    for tokens in one_by_one(bert_folder, 24, padding=False):
        with torch.no_grad():
            mean = model(**tokens).last_hidden_state[0].mean(dim=0)
        expected.append((mean / mean.norm()).numpy())
    encoder = build_text_encoder(tiny(bert_folder))
    assert encoder.dim == 16
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)


def test_bert_cls_pooling_equals_first_token(bert_folder):
    model = AutoModel.from_pretrained(bert_folder).eval()
    expected = []
    for tokens in one_by_one(bert_folder, 24, padding=False):
        with torch.no_grad():
            first = model(**tokens).last_hidden_state[0, 0]
        expected.append((first / first.norm()).numpy())
    np.testing.assert_allclose(build_text_encoder(tiny(bert_folder, pooling="cls")).encode(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize(("fixture", "length", "padding"), [("clip", 16, False), ("siglip", 10, "max_length")])
def test_aligned_model_equals_direct_text_features(request, fixture, length, padding):
    folder = request.getfixturevalue(f"{fixture}_folder")
    model = AutoModel.from_pretrained(folder).eval()
    expected = []
    for tokens in one_by_one(folder, length, padding):
        with torch.no_grad():
            features = model.get_text_features(**tokens).pooler_output[0]
        expected.append((features / features.norm()).numpy())
    np.testing.assert_allclose(build_text_encoder(tiny(folder)).encode(TEXTS), expected, atol=1e-5)


def test_bert_text_beyond_its_positions_is_cut(bert_folder):
    encoder = build_text_encoder(tiny(bert_folder))
    long, cut = encoder.encode(["home loan " * 500, "home loan " * 11])
    np.testing.assert_allclose(long, cut, atol=1e-5)


def test_encode_no_texts_returns_no_rows(bert_folder):
    assert build_text_encoder(tiny(bert_folder)).encode([]).shape == (0, 16)


def test_identity_changes_with_weights_and_settings_only(bert_folder, tmp_path):
    identity = build_text_encoder(tiny(bert_folder)).identity
    assert identity.startswith("tiny-bert-")
    assert build_text_encoder(tiny(bert_folder, batch_size=7, precision="bfloat16")).identity == identity
    assert build_text_encoder(tiny(bert_folder, prefix="query: ")).identity != identity
    assert build_text_encoder(tiny(bert_folder, max_tokens=8)).identity != identity
    copy = tmp_path / "tiny-bert"
    model = AutoModel.from_pretrained(bert_folder)
    AutoTokenizer.from_pretrained(bert_folder).save_pretrained(copy)
    model.save_pretrained(copy)
    before = build_text_encoder(tiny(copy)).identity
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[0, 0] += 1.0
    model.save_pretrained(copy)
    assert build_text_encoder(tiny(copy)).identity != before


@pytest.mark.parametrize("model", ["./no/such/folder", "no spaces in a hub id"])
def test_build_unknown_model_names_it_and_the_remedy(model):
    with pytest.raises(ConfigError, match=model.strip("./").split("/")[0]):
        build_text_encoder(TextEncoderConfig(model=model))


def test_build_model_that_is_not_cached_without_network_says_so(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="a-bank/not-there"):
        build_text_encoder(TextEncoderConfig(model="a-bank/not-there"))


def test_build_folder_without_weights_says_what_is_needed(tmp_path):
    with pytest.raises(ConfigError, match=r"model\.safetensors"):
        build_text_encoder(tiny(tmp_path))


def test_build_pickled_weights_are_refused(bert_folder, tmp_path):
    AutoTokenizer.from_pretrained(bert_folder).save_pretrained(tmp_path)
    model = AutoModel.from_pretrained(bert_folder)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="safetensors"):
        build_text_encoder(tiny(tmp_path))


def test_build_weights_that_lack_a_layer_are_refused_not_made_up(bert_folder, tmp_path):
    shutil.copytree(bert_folder, tmp_path / "part")
    tensors = load_file(bert_folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "layer.1." not in name}
    save_file(kept, tmp_path / "part" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lack 16 tensors of the model, such as encoder\.layer\.1"):
        build_text_encoder(tiny(tmp_path / "part"))


def test_build_weights_without_pooler_give_the_same_vectors(bert_folder, tmp_path):
    shutil.copytree(bert_folder, tmp_path / "part")
    tensors = load_file(bert_folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("pooler.")}
    save_file(kept, tmp_path / "part" / "model.safetensors", metadata={"format": "pt"})
    whole, part = build_text_encoder(tiny(bert_folder)), build_text_encoder(tiny(tmp_path / "part"))
    np.testing.assert_array_equal(part.encode(TEXTS), whole.encode(TEXTS))


def test_build_vision_model_is_no_text_encoder(vit_folder):
    with pytest.raises(ConfigError, match="tiny-vit"):
        build_text_encoder(tiny(vit_folder))


@pytest.fixture(scope="module")
def minilm_float32() -> np.ndarray:
    encoder = build_text_encoder(TextEncoderConfig(precision=Precision.FLOAT32))
    assert encoder.dim == 384
    return encoder.encode(["I want a mortgage", "home loan", "pizza recipe", "open a savings account"])


def test_minilm_mortgage_is_nearer_home_loan_than_pizza(minilm_float32):
    near = cosines(minilm_float32)[0]
    assert near[1] > 0.5
    assert near[2] < 0.2


def test_minilm_bfloat16_agrees_with_float32(minilm_float32):
    encoder = build_text_encoder(TextEncoderConfig(precision=Precision.BFLOAT16))
    quick = encoder.encode(["I want a mortgage", "home loan", "pizza recipe", "open a savings account"])
    assert (quick * minilm_float32).sum(axis=1).min() > 0.999


def test_e5_chinese_mortgage_is_nearer_english_mortgage_than_weather():
    encoder = build_text_encoder(TextEncoderConfig(model="e5", batch_size=3))
    texts = ["我想申请住房贷款", "I would like a mortgage to buy a house", "pizza recipe with cheese", "今天的天气很好"]
    near = cosines(encoder.encode(texts))
    assert encoder.dim == 384
    assert near[0, 1] > max(near[0, 2], near[0, 3])
    assert near[1, 0] > max(near[1, 2], near[1, 3])


def test_e5_text_that_c_cannot_hold_is_encoded():
    encoder = build_text_encoder(TextEncoderConfig(model="e5"))
    with_nul, plain, surrogate = encoder.encode(["home\0loan", "home loan", "loan \ud800"])
    np.testing.assert_allclose(with_nul, plain, atol=1e-5)
    assert np.isfinite(surrogate).all()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_packaged_and_local_encoders_never_ask_the_network(bert_folder, clip_folder):
    for model in ("minilm", "e5", str(bert_folder), str(clip_folder)):
        assert len(build_text_encoder(TextEncoderConfig(model=model)).encode(["loan"])) == 1
    for model in ("efficientnet-lite0", str(clip_folder)):
        encoder = build_image_encoder(ImageEncoderConfig(model=model))
        assert len(encoder.encode([Image.new("RGB", (9, 9))])) == 1


def test_doc_examples_are_true():
    assert doctest.testmod(weights).failed == 0


def test_choose_runtime_explicit_precision_is_kept():
    assert choose_runtime(Precision.FLOAT32).dtype is torch.float32
    assert choose_runtime(Precision.BFLOAT16).dtype is torch.bfloat16
    assert choose_runtime(Precision.AUTO).dtype in {torch.float32, torch.bfloat16}
