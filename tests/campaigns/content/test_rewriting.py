"""Rewriting: an honest model is used, a lying one never, a dead one is not waited for; a real small model runs."""

import json

import pytest
import torch

from recsys.campaigns.content.causal_writer import CausalWriter, CausalWriterConfig
from recsys.campaigns.content.fact_guard import validate_variant
from recsys.campaigns.content.rewriting import rewrite_variants, write_prompt
from recsys.errors import ModelError
from tests.campaigns.content.catalogue import products, variants

FACTS = {item.product_id: item for item in products("en")}


class Scripted:
    """A writer that changes the message in the prompt by one rule."""

    def __init__(self, change):
        self.change, self.asked = change, 0

    def write(self, prompt):
        self.asked += 1
        return self.change(json.loads(prompt.rpartition("Message: ")[2]))


def dead(_):
    raise ModelError("no answer")


def test_rewrite_variants_honest_model_is_used_and_labelled():
    given = variants("en", ("email",))
    writer = Scripted(lambda words: json.dumps({**words, "body": words["body"] + " Take your time."}))
    done = rewrite_variants(given, FACTS, writer)
    assert (done.accepted, done.rejected, done.reasons) == (len(given), 0, {})
    assert all(variant.source == "model" and variant.machine_made for variant in done.variants)
    assert all(validate_variant(variant, FACTS[variant.product_id]) == [] for variant in done.variants)
    assert all(new.content_hash != old.content_hash for new, old in zip(done.variants, given, strict=True))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda words: json.dumps({**words, "headline": "Guaranteed: 9 % for everyone"}), "claim"),
        (lambda words: json.dumps({**words, "body": words["body"].replace(".", " and 7% more.", 1)}), "number"),
        (lambda words: "Sure! " + json.dumps(words), "format"),
        (lambda words: json.dumps({**words, "opt_out": ""}), "format"),
        (lambda words: "[" * 100_000, "format"),
    ],
)
def test_rewrite_variants_lying_model_leaves_the_template_and_the_reason(change, rule):
    given = variants("en", ("email",))[:10]
    done = rewrite_variants(given, FACTS, Scripted(change))
    assert done.variants == given
    assert done.reasons[rule] == done.rejected == len(given)


def test_rewrite_variants_dead_model_is_asked_three_times():
    writer, given = Scripted(dead), variants("en", ("email",))[:10]
    done = rewrite_variants(given, FACTS, writer)
    assert (writer.asked, done.variants, done.reasons) == (3, given, {"unavailable": 10})


def test_write_prompt_holds_nothing_of_the_catalogue_but_name_and_facts():
    variant = variants("en", ("email",))[0]
    prompt = write_prompt(variant, FACTS[variant.product_id].model_copy(update={"currency": None}), _limits())
    assert "2.15% a year" in prompt
    assert "description" not in prompt


def test_causal_writer_any_transformers_model_writes_the_same_twice(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = ["<eos>", "<unk>", *"abcdefghijklmnopqrstuvwxyz"]
    raw = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>", unk_token="<unk>").save_pretrained(tmp_path)
    config = GPT2Config(vocab_size=len(words), n_positions=2048, n_embd=8, n_layer=1, n_head=1, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    writer = CausalWriter(CausalWriterConfig(model=str(tmp_path), max_new_tokens=8))
    assert writer.write("hello") == writer.write("hello")
    given = variants("en", ("push",))[:2]
    assert rewrite_variants(given, FACTS, writer).variants == given  # noise is never used


def test_causal_writer_missing_model_says_so(tmp_path):
    with pytest.raises(ModelError, match="cannot be loaded"):
        CausalWriter(CausalWriterConfig(model=str(tmp_path / "none")))


def _limits():
    from recsys.campaigns.content.channels import DEFAULT_CHANNELS

    return DEFAULT_CHANNELS["email"]
