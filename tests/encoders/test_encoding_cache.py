"""The cache: once ever, nothing mixed, nothing lost, nothing that cannot be read in the way."""

import multiprocessing
import os
import signal
import struct
import time
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from recsys.encoders.cache import EncodingCache
from recsys.encoders.image import ImageEncoderConfig, build_image_encoder
from recsys.encoders.runtime import unit_rows
from recsys.encoders.text import TextEncoder, TextEncoderConfig, build_text_encoder
from recsys.encoders.vector_store import VectorStore
from recsys.errors import ModelError


class LetterCounts:
    """A small real encoder: how often each letter stands in a text; remembers what it was asked."""

    dim = 27

    def __init__(self, identity: str = "letters") -> None:
        self.identity = identity
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked.extend(texts)
        counts = [[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] + [1.0] for text in texts]
        return unit_rows(np.array(counts, dtype=np.float32).reshape(-1, self.dim))


class MeanColours:
    """A small real image encoder: the mean colour; counts what it was asked."""

    identity = "colours"
    dim = 3

    def __init__(self) -> None:
        self.asked = 0

    def encode(self, images: Sequence[Image.Image]) -> np.ndarray:
        self.asked += len(images)
        means = [np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) + 1 for image in images]
        return unit_rows(np.array(means, dtype=np.float32).reshape(-1, self.dim))


def parts(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def save(path: Path, colour: str, size: tuple[int, int] = (8, 8)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def test_texts_missing_and_repeated_share_rows(tmp_path):
    encoder = LetterCounts()
    encoded = EncodingCache(tmp_path).texts(["loan", None, "card", " loan ", "", " \n\t", "loan"], encoder)
    assert encoded.index.tolist() == [0, -1, 1, 0, -1, -1, 0]
    assert encoded.index.dtype == np.int64
    assert encoded.missing == 3
    assert encoder.asked == ["loan", "card"]
    np.testing.assert_allclose(encoded.vectors, LetterCounts().encode(["loan", "card"]), atol=1e-3)


def test_texts_composed_and_decomposed_accents_are_one_text(tmp_path):
    encoder = LetterCounts()
    assert EncodingCache(tmp_path).texts(["caf\u00e9", "cafe\u0301"], encoder).index.tolist() == [0, 0]


@pytest.mark.parametrize("texts", [[], [None], ["", None]])
def test_texts_nothing_to_encode_writes_nothing(tmp_path, texts):
    encoded = EncodingCache(tmp_path / "new").texts(texts, LetterCounts())
    assert encoded.vectors.shape == (0, 27)
    assert encoded.missing == len(texts)
    assert not (tmp_path / "new").exists()


def test_texts_second_process_life_encodes_only_what_is_new_and_agrees_to_the_bit(tmp_path):
    first = EncodingCache(tmp_path).texts(["loan", "card", "fund"], LetterCounts())
    again = LetterCounts()
    second = EncodingCache(tmp_path).texts(["fund", "pension", "loan"], again)
    assert again.asked == ["pension"]
    np.testing.assert_array_equal(second.vectors[[0, 2]], first.vectors[[2, 0]])


def test_texts_other_identity_never_reads_the_first_ones_vectors(tmp_path):
    cache, other = EncodingCache(tmp_path), LetterCounts("other")
    cache.texts(["loan"], LetterCounts())
    cache.texts(["loan"], other)
    assert other.asked == ["loan"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["letters", "other"]


def test_texts_are_not_in_the_files(tmp_path):
    EncodingCache(tmp_path).texts(["averyprivatesentence"], LetterCounts())
    assert b"private" not in b"".join(path.read_bytes() for path in parts(tmp_path))


def test_texts_half_precision_on_disk_moves_no_cosine_by_a_thousandth(tmp_path):
    exact = unit_rows(np.random.default_rng(1).normal(size=(200, 1280)))

    class Fixed:
        identity, dim = "fixed", 1280

        def encode(self, texts: Sequence[str]) -> np.ndarray:
            return exact[[int(text) for text in texts]]

    stored = EncodingCache(tmp_path).texts([str(row) for row in range(200)], Fixed()).vectors
    assert (1 - (stored * exact).sum(axis=1)).max() < 1e-6
    assert np.abs(stored @ stored.T - exact @ exact.T).max() < 1e-3


def test_texts_many_steps_and_parts_keep_every_row(tmp_path, monkeypatch):
    monkeypatch.setattr("recsys.encoders.vector_store._PART_ROWS", 1000)
    rng = np.random.default_rng(2)
    texts = ["".join(rng.choice(list("abcdefgh"), 6)) for _ in range(5000)]
    encoded = EncodingCache(tmp_path).texts(texts, LetterCounts())
    assert len(parts(tmp_path)) > 3
    cached = EncodingCache(tmp_path).texts(texts, silent := LetterCounts())
    assert silent.asked == []
    for answer in (encoded, cached):
        np.testing.assert_allclose(answer.vectors[answer.index], LetterCounts().encode(texts), atol=1e-3)


def test_texts_lone_surrogate_is_encoded_not_refused(tmp_path):
    assert EncodingCache(tmp_path).texts(["loan \ud800"], LetterCounts()).missing == 0


def test_texts_vector_that_is_not_finite_is_refused_and_not_stored(tmp_path):
    class Broken(LetterCounts):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            return np.full((len(texts), self.dim), np.nan, dtype=np.float32)

    with pytest.raises(ModelError, match="letters gave vectors that are not finite"):
        EncodingCache(tmp_path).texts(["loan"], Broken())
    assert parts(tmp_path) == []


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "flipped keys", "flipped vectors"])
def test_texts_corrupt_part_is_warned_about_and_encoded_again(tmp_path, damage):
    texts = [f"{i} {'abc' * (i % 7)}." for i in range(50)]
    original = EncodingCache(tmp_path).texts(texts, LetterCounts())
    (part,) = parts(tmp_path)
    content = bytearray(part.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = bytearray()
    elif damage == "garbage":
        content = bytearray(b"no parquet at all")
    else:
        content[200 if damage == "flipped keys" else 50 * 16 + 600] ^= 0xFF
    part.write_bytes(content)
    encoder = LetterCounts()
    with pytest.warns(RuntimeWarning, match="computed again"):
        encoded = EncodingCache(tmp_path).texts(texts, encoder)
    assert sorted(encoder.asked) == sorted(texts)
    np.testing.assert_array_equal(encoded.vectors, original.vectors)


def test_texts_leftover_temporary_file_is_ignored(tmp_path):
    EncodingCache(tmp_path).texts(["loan"], LetterCounts())
    (tmp_path / "letters" / ".0123.tmp").write_bytes(b"half a part")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EncodingCache(tmp_path).texts(["loan"], silent := LetterCounts())
    assert silent.asked == []


def test_texts_interrupt_keeps_what_was_encoded(tmp_path):
    class Interrupted(LetterCounts):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            if self.asked:
                raise KeyboardInterrupt
            return super().encode(texts)

    texts = [str(number) for number in range(1000)]
    with pytest.raises(KeyboardInterrupt):
        EncodingCache(tmp_path).texts(texts, before := Interrupted())
    EncodingCache(tmp_path).texts(texts, after := LetterCounts())
    assert sorted(before.asked + after.asked) == sorted(texts)


def _encode_slowly(folder: Path, texts: list[str], delay: float) -> None:
    class Slow(LetterCounts):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            time.sleep(delay)
            return super().encode(texts)

    import recsys.encoders.vector_store as store

    store._PART_ROWS = 512
    EncodingCache(folder).texts(texts, Slow())


def test_texts_killed_process_leaves_whole_parts(tmp_path):
    texts = [str(number) for number in range(20_000)]
    process = multiprocessing.get_context("spawn").Process(target=_encode_slowly, args=(tmp_path, texts, 0.2))
    process.start()
    deadline = time.monotonic() + 30
    while len(parts(tmp_path)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoded = EncodingCache(tmp_path).texts(texts, rest := LetterCounts())
    assert 0 < len(rest.asked) <= len(texts) - 2 * 512
    np.testing.assert_allclose(encoded.vectors, LetterCounts().encode(texts), atol=1e-3)


def test_texts_two_processes_at_once_agree(tmp_path):
    texts = [str(number) for number in range(3000)]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_encode_slowly, args=(tmp_path, texts, 0.01)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    EncodingCache(tmp_path).texts(texts, silent := LetterCounts())
    assert silent.asked == []


def test_texts_part_written_meanwhile_by_another_is_found(tmp_path):
    cache = EncodingCache(tmp_path)
    cache.texts(["loan"], LetterCounts())
    EncodingCache(tmp_path).texts(["card"], LetterCounts())
    cache.texts(["loan", "card"], silent := LetterCounts())
    assert silent.asked == []


def test_texts_progress_of_the_caller_reaches_the_end(tmp_path):
    with Progress(console=Console(stderr=True, quiet=True)) as progress:
        EncodingCache(tmp_path).texts([str(number) for number in range(700)], LetterCounts(), progress)
        (task,) = progress.tasks
    assert (task.completed, task.total) == (700, 700)


def test_texts_minilm_is_run_once_for_two_calls(tmp_path):
    encoder: TextEncoder = build_text_encoder(TextEncoderConfig())
    first = EncodingCache(tmp_path).texts(["I want a mortgage", "home loan"], encoder)
    before = parts(tmp_path)
    second = EncodingCache(tmp_path).texts(["I want a mortgage", "home loan"], encoder)
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert parts(tmp_path) == before


def test_images_same_bytes_under_two_names_are_encoded_once(tmp_path):
    red, copy, blue = (save(tmp_path / f"{name}.png", name.split("_")[0]) for name in ("red", "red_copy", "blue"))
    cache, encoder = EncodingCache(tmp_path / "cache"), MeanColours()
    encoded = cache.images([red, copy, None, blue, red], encoder)
    assert encoded.index.tolist() == [0, 0, -1, 1, 0]
    assert (encoded.missing, encoder.asked) == (1, 2)
    np.testing.assert_allclose(encoded.vectors[0], unit_rows(np.array([[256.0, 1, 1]]))[0], atol=1e-3)
    assert EncodingCache(tmp_path / "cache").images([blue], again := MeanColours()).missing == 0
    assert again.asked == 0


def test_images_file_replaced_under_its_name_is_encoded_again(tmp_path):
    cache, path = EncodingCache(tmp_path / "cache"), tmp_path / "picture.png"
    red = cache.images([save(path, "red")], MeanColours()).vectors
    blue = cache.images([save(path, "blue")], MeanColours()).vectors
    assert (red @ blue.T).item() < 0.1


def claims_many_pixels(path: Path) -> Path:
    """A PNG of 60 bytes whose header claims 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


def test_images_what_is_no_readable_picture_is_missing_and_the_rest_is_not(tmp_path):
    good = save(tmp_path / "good.jpg", "green", (200, 100))
    half = tmp_path / "half.jpg"
    Image.effect_noise((300, 300), 90).save(half)
    half.write_bytes(half.read_bytes()[:2000])
    empty, text, script = tmp_path / "empty.png", tmp_path / "text.png", tmp_path / "script.eps"
    empty.touch()
    text.write_text("not a picture")
    script.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    bomb = claims_many_pixels(tmp_path / "bomb.png")
    paths = [half, good, empty, text, script, bomb, tmp_path / "absent.png", tmp_path, None]
    encoded = EncodingCache(tmp_path / "cache").images(paths, encoder := MeanColours())
    assert encoded.index.tolist() == [-1, 0, -1, -1, -1, -1, -1, -1, -1]
    assert (encoded.missing, encoder.asked, len(encoded.vectors)) == (8, 1, 1)


def test_images_transparency_lies_on_white_and_rotation_is_undone(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    white = EncodingCache(tmp_path / "cache").images([tmp_path / "clear.png"], MeanColours())
    np.testing.assert_allclose(white.vectors[0], np.full(3, 3**-0.5), atol=1e-3)

    class Shapes(MeanColours):
        sizes: list[tuple[int, int]] = []  # noqa: RUF012

        def encode(self, images: Sequence[Image.Image]) -> np.ndarray:
            self.sizes.extend(image.size for image in images)
            return super().encode(images)

    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (40, 20), "red").save(tmp_path / "turned.jpg", exif=exif)
    save(tmp_path / "large.png", "red", (3000, 1500))
    EncodingCache(tmp_path / "other").images([tmp_path / "turned.jpg", tmp_path / "large.png"], shapes := Shapes())
    assert shapes.sizes == [(20, 40), (1024, 512)]


def test_images_efficientnet_vectors_come_back_to_the_bit(tmp_path):
    paths = [save(tmp_path / f"{colour}.png", colour, (64, 48)) for colour in ("red", "green", "blue")]
    encoder = build_image_encoder(ImageEncoderConfig())
    first, second = (EncodingCache(tmp_path / "cache").images(paths, encoder) for _ in range(2))
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert first.vectors.shape == (3, 1280)


def test_vector_store_part_of_another_dimension_is_not_read(tmp_path):
    VectorStore(tmp_path, 4).append(np.array([b"k" * 16]), np.ones((1, 4), dtype=np.float32))
    out = np.zeros((1, 5), dtype=np.float32)
    with pytest.warns(RuntimeWarning, match="vectors of 8 bytes, expected 10"):
        assert not VectorStore(tmp_path, 5).read(np.array([b"k" * 16]), out).any()


def test_vector_store_keys_with_zero_bytes_are_told_apart(tmp_path):
    keys = np.array([b"\0" * 15 + b"\1", b"\1" + b"\0" * 15, b"\0" * 16], dtype="S16")
    VectorStore(tmp_path, 3).append(keys, np.eye(3, dtype=np.float32))
    out = np.zeros((3, 3), dtype=np.float32)
    assert VectorStore(tmp_path, 3).read(keys, out).all()
    np.testing.assert_array_equal(out, np.eye(3))
