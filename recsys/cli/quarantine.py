"""`recsys quarantine`: the events that wait for the decision that they answer to."""

from typing import Annotated

import typer

from recsys.cli.terminal import JsonOption, emit
from recsys.home import Home


def quarantine(
    context: typer.Context,
    drop: Annotated[bool, typer.Option("--drop", help="Delete what is shown: it never counts.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the oldest first.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Show the events that name a decision which the log does not have.

    They are durable and have no effect. The service takes each in once its decision turns up, as when the disk of a
    worker that died is back; `recsys retention` deletes what never does.

    Example: recsys quarantine --json
    """
    from serving.decision_log import JOURNAL_FOLDER
    from serving.settings import Settings
    from serving.store.database import open_store
    from serving.store.quarantine import Quarantine

    home: Home = context.obj
    with open_store(Settings(home=home.path).store_url()) as store:
        kept = Quarantine(store, home.path / JOURNAL_FOLDER)
        rows = kept.rows(limit)
        if drop:
            kept.remove([row.event_id for row in rows])
    lines = [f"{len(rows):,} event(s) {'dropped' if drop else 'in quarantine'}"]
    lines += [f"  {row.received_at.isoformat()} {row.event_id} of decision {row.decision_id}" for row in rows]
    emit({"dropped": drop, "events": [row._asdict() for row in rows]}, as_json, lines)
