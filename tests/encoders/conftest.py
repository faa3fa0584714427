"""Tiny models of transformers, with tokenizer and image processor, that the tests themselves make and save."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

VOCABULARY = "[PAD] [UNK] [CLS] [SEP] a home loan card pizza recipe with cheese and the rate of savings bank"
WORDS = VOCABULARY.split()
TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**TEXT, "image_size": 32, "patch_size": 8}


def save_tokenizer(folder: Path, max_length: int) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=max_length,
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text model of 16 dimensions and 24 positions."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=24, pad_token_id=0, **TEXT)
    BertModel(config).save_pretrained(folder)
    save_tokenizer(folder, max_length=512)
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text-and-image model of 12 dimensions."""
    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("models") / "tiny-clip"
    text = {**TEXT, "vocab_size": len(WORDS), "max_position_embeddings": 16, "eos_token_id": 3, "bos_token_id": 2}
    CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=12)).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    save_tokenizer(folder, max_length=16)
    return folder


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text-and-image model of 16 dimensions whose texts are padded to 10 tokens."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("models") / "tiny-siglip"
    text = {**TEXT, "vocab_size": len(WORDS), "max_position_embeddings": 10, "projection_size": 16}
    SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    save_tokenizer(folder, max_length=10)
    return folder


@pytest.fixture(scope="session")
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision model without text."""
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("models") / "tiny-vit"
    ViTModel(ViTConfig(**VISION), add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Five pictures of several shapes."""
    rng = np.random.default_rng(5)
    sizes = [(40, 60), (64, 48), (32, 32), (100, 50), (33, 90)]
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]
