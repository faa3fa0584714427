"""The service's log: one JSON object a line, with the request's id, and nothing that says who asked or about whom."""

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final

import orjson

from serving.settings import Settings

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""Of the request that is being answered."""
ACCESS: Final = logging.getLogger("recsys.access")
"""One line a request: method, route (its template, never a path), status, ms."""
FIELDS: Final = ("method", "route", "status", "ms")
"""What a line may have beside its message; `extra` of a log call."""


class JsonFormatter(logging.Formatter):
    """A line. Of an error it says the type and where it was raised: a message may hold what was sent."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": REQUEST_ID.get(),
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = type(error).__name__
            line["at"] = [f"{Path(one.filename).name}:{one.lineno}" for one in extract_tb(error.__traceback__)][-8:]
        return orjson.dumps({key: value for key, value in line.items() if value is not None}, default=str).decode()


def configure_logs(settings: Settings) -> None:
    """Sends all loggers of this process to standard error, as the settings want them."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.logs_json:
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("recsys").setLevel(logging.INFO)
    ACCESS.setLevel(logging.INFO if settings.logs_json else logging.WARNING)
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.INFO)
