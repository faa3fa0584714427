"""The API's reference at `/docs` in a real Chromium: every operation is listed, and the content policy is kept."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser

from tests.browser.checks import overflow
from tests.browser.conftest import Window
from tests.serving.test_durability import running_server


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real server over the tiny bank; the page needs no trained one."""
    with running_server(tmp_path_factory.mktemp("reference")) as (_, url):
        yield url


@pytest.mark.parametrize("width", [1280, 390])
def test_reference_lists_every_operation_and_its_policy_is_kept(browser: Browser, address: str, width: int) -> None:
    document = httpx.get(f"{address}/openapi.json").json()
    expected = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method in ("get", "put", "post", "patch", "delete")
    }
    context = browser.new_context(viewport={"width": width, "height": 900})
    tab = Window(context.new_page(), address)
    tab.watch()
    tab.open("/docs")
    tab.page.wait_for_selector("#reference .opblock")
    shown = tab.page.eval_on_selector_all(
        "#reference .opblock-summary",
        "all => all.map(one => [one.querySelector('.opblock-summary-method').textContent,"
        " one.querySelector('.opblock-summary-path').dataset.path])",
    )
    assert {tuple(pair) for pair in shown} == expected
    tab.page.locator("#reference .opblock-summary", has_text="/v1/recommendations").first.click()
    tab.page.wait_for_selector("#reference .opblock.is-open .opblock-body")
    assert "placements" in tab.page.inner_text("#reference .opblock.is-open")
    assert overflow(tab.page) == 0
    tab.settle()
    context.close()
    assert tab.foreign == []
    assert tab.errors == []


def test_reference_policy_lets_no_script_but_files_of_ours_run(address: str) -> None:
    page = httpx.get(f"{address}/docs")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/docs/assets/{name}" in page.text
        assert httpx.get(f"{address}/docs/assets/{name}").status_code == 200
