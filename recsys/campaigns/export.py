"""A plan for somebody outside: who gets what, under pseudonyms, in files that a spreadsheet may open."""

import hashlib
import hmac
import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from recsys.campaigns.plan_files import MANIFEST, fingerprint, require_free, verify_plan, write_json
from recsys.errors import RecsysError
from recsys.schema import CUSTOMER_ID

FORMATS: Final = ("csv", "parquet")
_PURPOSE: Final = b"recsys campaign export\0"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What makes a spreadsheet run a cell, in both widths."""
_PSEUDONYM: Final = "recipient"
_NOT_OURS_TO_GIVE: Final = ("salt", "seed")
"""Of the brief: with the salt anybody could tell who is held out."""


def export_plan(plan: Path, out: Path, key: bytes, formats: tuple[str, ...], now: datetime) -> dict[str, Any]:
    """Writes a plan's assignments and creatives to another directory, whole or not at all.

    Args:
        plan: a plan's directory.
        out: where to; must not exist.
        key: of the pseudonyms; the same key gives a customer the same pseudonym in every export of one campaign.
        formats: of FORMATS.
        now: when.

    Returns:
        The manifest that was written.

    Raises:
        RecsysError: the plan is not whole, a format is unknown, or the directory exists or cannot be written.
    """
    if unknown := sorted(set(formats) - set(FORMATS)):
        raise RecsysError(f"{', '.join(unknown)}: no such format: write {' or '.join(FORMATS)}")
    manifest = verify_plan(plan)
    require_free(out)
    summary = json.loads((plan / "plan.json").read_text(encoding="utf-8"))
    summary["brief"] = {name: value for name, value in summary["brief"].items() if name not in _NOT_OURS_TO_GIVE}
    summary.pop("seed", None)
    rows = pl.read_parquet(plan / "assignments.parquet")
    secret = hmac.digest(key, _PURPOSE + manifest["campaign_id"].encode(), hashlib.sha256)
    table = _pseudonymous(rows, secret)
    temporary = out.with_name(f".{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for kind in formats:
            _write_table(table, temporary / f"assignments.{kind}", kind)
        variants = json.loads((plan / "variants.json").read_text(encoding="utf-8"))
        _write_table(_variants(variants), temporary / "variants.csv", "csv")
        write_json(temporary / "summary.json", summary)
        shutil.copytree(plan / "images", temporary / "images")
        files = sorted(file for file in temporary.rglob("*") if file.is_file())
        written = {
            "campaign_id": manifest["campaign_id"],
            "exported_at": now.isoformat(),
            "rows": len(table),
            "assignment_hash": manifest["assignment_hash"],
            "brief_hash": manifest["brief_hash"],
            "versions": manifest["versions"],
            "files": {str(file.relative_to(temporary)): fingerprint(file) for file in files},
        }
        write_json(temporary / MANIFEST, written)
        temporary.rename(out)
    except OSError as error:
        raise RecsysError(f"{out}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return written


def harmless(text: str) -> str:
    """A cell that no spreadsheet runs: one that begins like a formula is quoted with an apostrophe.

    Source: OWASP, CSV injection.

    >>> harmless("=1+1"), harmless(" @home"), harmless("Home - loan")
    ("'=1+1", "' @home", 'Home - loan')
    """
    bare = text.lstrip(" \u00a0\u3000\ufeff\u200b")
    return f"'{text}" if bare.startswith(_FORMULA) or text.startswith(_FORMULA) else text


def _pseudonymous(rows: pl.DataFrame, secret: bytes) -> pl.DataFrame:
    """Ordered by pseudonym: the customers' own order would tell who is who."""
    ids = rows[CUSTOMER_ID].unique().to_list()
    names = {one: hmac.digest(secret, one.encode(), hashlib.sha256).hex()[:32] for one in ids}
    pseudonym = pl.col(CUSTOMER_ID).replace_strict(names, return_dtype=pl.String).alias(_PSEUDONYM)
    return rows.select(pseudonym, pl.exclude(CUSTOMER_ID)).sort(
        _PSEUDONYM, "product_id", "content_id", "channel", "slot"
    )


def _variants(variants: list[dict[str, Any]]) -> pl.DataFrame:
    names = list(dict.fromkeys(name for variant in variants for name in variant))
    return pl.DataFrame(
        {name: [_as_text(variant.get(name)) for variant in variants] for name in names},
        schema=dict.fromkeys(names, pl.String),
    )


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _write_table(table: pl.DataFrame, file: Path, kind: str) -> None:
    texts = [name for name, dtype in table.schema.items() if dtype == pl.String]
    safe = table.with_columns(
        pl.col(name).map_elements(harmless, return_dtype=pl.String, skip_nulls=True) for name in texts
    ).rename({name: harmless(name) for name in table.columns})
    if kind == "csv":
        safe.write_csv(file, datetime_format="%Y-%m-%dT%H:%M:%SZ")
    else:
        safe.write_parquet(file)
