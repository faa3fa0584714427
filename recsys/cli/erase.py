"""`recsys erase`: takes one customer out of everything, proves it and certifies it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.cli.terminal import JsonOption, console, emit
from recsys.home import Home

if TYPE_CHECKING:
    from recsys.privacy.erasure import Place


def erase(
    context: typer.Context,
    customer: Annotated[str, typer.Argument(help="The customer's id.", show_default=False)],
    dataset: Annotated[
        Path | None, typer.Option("--dataset", help="Rewrite the raw tables of this dataset directory too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Erase a customer: features, online store, events, facts, decisions, caches, exports, and raw data if named.

    Exits with 1 if he is still found anywhere, for example because a server answered him meanwhile: run it again, as
    after an interruption.

    Example: recsys erase c0000012 --dataset bank
    """
    if not customer.strip():
        raise typer.BadParameter("name a customer")
    from recsys.data.contract import Dataset
    from recsys.privacy.erasure import Erasure

    home: Home = context.obj
    raw = None if dataset is None else Dataset.open(dataset)
    if raw is not None:
        home.require_owner(raw.config.name)
    with console.status("erasing, and looking whether anything is left"):
        certificate = Erasure(home, customer, databases(home, customer), raw).run()
    emit(certificate.model_dump(mode="json") | {"complete": certificate.complete}, as_json, certificate.lines())
    if not certificate.complete:
        raise typer.Exit(1)


def databases(home: Home, customer: str) -> "list[Place]":
    """The SQL store, the online store and the campaigns of a home; one that was never made is none."""
    from feature_repo.erasure import erase_online, is_online
    from recsys.campaigns.erasure import erase_from_plans, erase_messages, find_in_plans, find_messages
    from recsys.privacy.erasure import Place
    from serving.decision_log import JOURNAL_FOLDER, drain_left_over
    from serving.settings import Settings
    from serving.store.campaigns import CampaignStore
    from serving.store.database import open_store
    from serving.store.erasure import erase_customer, find_customer

    url = Settings(home=home.path).store_url()

    def erase_stored() -> dict[str, int]:
        with open_store(url) as store:
            drain_left_over(home.path / JOURNAL_FOLDER, store)  # else the next start would bring them in
            return erase_customer(store, customer)

    def find_stored() -> list[str]:
        with open_store(url) as store:
            return find_customer(store, customer)

    def plans() -> list[Path]:
        with open_store(url) as store:
            return [Path(campaign.plan["plan"]) for campaign in CampaignStore(store).all() if "plan" in campaign.plan]

    outbox = home.path / "outbox"

    def erase_features() -> dict[str, int]:
        count = erase_online(home.path, customer)
        return {"values": count} if count else {}

    def find_features() -> list[str]:
        return ["his key"] if is_online(home.path, customer) else []

    return [
        Place("SQL store", erase_stored, find_stored),
        Place("online feature store", erase_features, find_features),
        Place(
            "campaign plans",
            lambda: erase_from_plans(plans(), customer),
            lambda: find_in_plans(plans(), customer),
        ),
        Place("outbox", lambda: erase_messages(outbox, customer), lambda: find_messages(outbox, customer)),
    ]
