"""Catalogue reads: words and pictures that apps keep, asked about by tag; nothing outside the dataset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from serving.conditional import picture_type
from serving.testing import bearer, token_of
from serving.tokens import WRITE
from tests.serving.test_catalogue_api import PRODUCT, Shop, fill, governed, open_shop, picture, register
from tests.training.conftest import Governed

__all__ = ["governed", "open_shop", "register"]


def get(shop: Shop, path: str, token: str | None = None, **headers: str) -> Any:
    return shop.client.get(f"/v1/catalogue/{path}", headers=bearer(token or token_of(None)) | headers)


def test_catalogue_item_has_a_tag_that_changes_with_it(open_shop: Callable[..., Any]) -> None:
    with open_shop(reload_seconds=0.0) as shop:
        fill(shop)
        first = get(shop, "products/p2")
        assert first.status_code == 200
        assert first.json()["product_id"] == "p2"
        assert first.headers["cache-control"] == "private, no-cache"
        assert "Authorization" in first.headers["vary"]
        tag = first.headers["etag"]
        for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            same = get(shop, "products/p2", **{"If-None-Match": sent})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
            assert same.headers["x-content-type-options"] == "nosniff"
        assert get(shop, "products/p2", **{"If-None-Match": '"other"'}).status_code == 200
        shop.put("products/p2", {**PRODUCT, "name": "Platinum card"})
        changed = get(shop, "products/p2", **{"If-None-Match": tag})
        assert changed.status_code == 200
        assert changed.json()["name"] == "Platinum card"
        assert changed.headers["etag"] != tag
        assert get(shop, "products/nowhere").status_code == 404
        assert get(shop, "products/p2", token_of("anna", WRITE)).status_code == 403


def test_catalogue_pictures_are_what_they_are(open_shop: Callable[..., Any]) -> None:
    with open_shop(reload_seconds=0.0) as shop:
        fill(shop)
        shop.put("products/p-new", {**PRODUCT, "picture": picture()})
        shop.put("contents/k-new", {"product_id": "p-new", "status": "approved", "picture": picture("red")})
        for path in ("products/p-new", "contents/k-new"):
            link = get(shop, path).json()["image"]
            assert link == f"/v1/catalogue/{path}/image"
            image = get(shop, f"{path}/image")
            assert image.status_code == 200
            assert image.headers["content-type"] == "image/png"
            assert image.content.startswith(b"\x89PNG")
            assert image.headers["x-content-type-options"] == "nosniff"
            assert image.headers["cache-control"] == "private, max-age=300"
            assert get(shop, f"{path}/image", **{"If-None-Match": image.headers["etag"]}).status_code == 304
        shop.put("products/p-plain", PRODUCT)
        assert get(shop, "products/p-plain").json()["image"] is None
        assert get(shop, "products/p-plain/image").status_code == 404


def test_catalogue_pictures_of_the_dataset_and_none_outside_of_it(
    open_shop: Callable[..., Any], governed: Governed, tmp_path: Path
) -> None:
    file = governed.dataset.path / "contents.parquet"
    rows = pl.read_parquet(file)
    named = rows.drop_nulls("image_path").row(0, named=True)
    outside = tmp_path / "secret.png"
    outside.write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    kept = file.read_bytes()
    with open_shop(reload_seconds=0.0) as shop:
        image = get(shop, f"contents/{named['content_id']}/image")
        assert image.status_code == 200
        assert image.content == (governed.dataset.path / named["image_path"]).read_bytes()
        try:
            for path in (str(outside), f"../../../../../../../../..{outside}", "dataset.yaml", "contents.parquet"):
                mine = pl.col("content_id") == named["content_id"]
                changed = pl.when(mine).then(pl.lit(path)).otherwise("image_path").alias("image_path")
                rows.with_columns(changed).write_parquet(file)
                assert get(shop, f"contents/{named['content_id']}/image").status_code == 404
        finally:
            file.write_bytes(kept)
        for path in ("..%2f..%2fdataset.yaml", "%2e%2e/%2e%2e/etc/passwd", "a%00b", ".."):
            assert get(shop, f"contents/{path}/image").status_code in (404, 422)


def test_catalogue_lists_are_paged_by_cursor_and_hide_from_customers_what_is_not_for_them(
    open_shop: Callable[..., Any],
) -> None:
    with open_shop(reload_seconds=0.0) as shop:
        fill(shop)
        for kind, key in (("products", "product_id"), ("contents", "content_id")):
            whole = get(shop, f"{kind}?limit=100").json()
            assert whole["next_cursor"] is None
            ids = [item[key] for item in whole["items"]]
            assert ids == sorted(ids)
            assert len(ids) > 4
            found: list[str] = []
            cursor = ""
            while True:
                page = get(shop, f"{kind}?limit=3{cursor}").json()
                found += [item[key] for item in page["items"]]
                if page["next_cursor"] is None:
                    break
                cursor = f"&cursor={page['next_cursor']}"
            assert found == ids
        shop.put("products/p2", {**PRODUCT, "status": "paused"})
        seen = {item["product_id"] for item in get(shop, "products?limit=100", token_of("guest")).json()["items"]}
        assert "p2" not in seen
        assert "p2" in {item["product_id"] for item in get(shop, "products?limit=100").json()["items"]}
        assert get(shop, "products/p2", token_of("guest")).status_code == 404
        assert get(shop, "products/p2/image", token_of("guest")).status_code == 404
        listed = get(shop, "products")
        assert get(shop, "products", **{"If-None-Match": listed.headers["etag"]}).status_code == 304
        for bad in ("cursor=%C3%A4", "cursor=a", "limit=0", "limit=101", "cursor="):
            assert get(shop, f"products?{bad}").status_code == 422


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0AVI ", None),
        (b"<svg xmlns=", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_picture_type_is_read_from_the_file(start: bytes, kind: str | None) -> None:
    assert picture_type(start) == kind
