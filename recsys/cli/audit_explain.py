"""`recsys audit explain`: what adds up to a product's score for a customer."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsys.cli.audit_store import open_log
from recsys.cli.terminal import JsonOption, console, emit, plain

if TYPE_CHECKING:
    from serving.explain import Explained


def explain(
    context: typer.Context,
    customer: Annotated[str, typer.Argument(help="The customer's id.", show_default=False)],
    product: Annotated[str, typer.Argument(help="The product's id.", show_default=False)],
    channel: Annotated[str | None, typer.Option(help="Where it would be shown; by default on any channel.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What each modality adds to a product's score for a customer now, up to its distance from the average.

    Example: recsys audit explain c0000001 p0007

    Example: recsys audit explain c0000001 p0007 --channel app --json
    """
    import torch

    from serving.explain import Sources
    from serving.explain import explain as ask
    from serving.features import OnlineFeatures
    from serving.live_catalogue import open_live_catalogue
    from serving.loading import load_champion
    from serving.store.facts import FactStore

    with open_log(context.obj) as (store, settings), console.status("taking the score apart"):
        torch.set_num_threads(settings.torch_threads)
        model = open_live_catalogue(store, context.obj).assemble(load_champion(settings.home))
        sources = Sources(FactStore(store), OnlineFeatures(settings.home))
        found = ask(model, sources, (customer, product), datetime.now(UTC), channel)
    account = found.account
    result: dict[str, Any] = {"customer_id": customer, "product_id": product, "model": found.model}
    result |= {"policy": found.policy, "mode": found.mode, "allowed": found.allowed}
    result |= {"score": account.score, "average": account.average, "contributions": account.parts}
    result |= {"ranker": account.ranker, "reasons": [reason.text for reason in found.reasons]}
    emit(result, as_json, _describe(customer, product, found))


def _describe(customer: str, product: str, found: "Explained") -> list[str]:
    account = found.account
    lines = [f"{plain(customer)} and {plain(product)} by {plain(found.model)} (mode {found.mode})"]
    if not found.allowed:
        lines.append("  [yellow]a rule keeps it from him[/yellow]: see `recsys audit why-not`")
    lines.append(f"  score {account.score:.3f}, average of what he may have {account.average:.3f}; the difference:")
    lines += [f"    {group:<18} {value:+.3f}" for group, value in account.parts.items()]
    if account.ranker:
        lines.append("  the ranker's own account of the score:")
        lines += [f"    {group:<18} {value:+.3f}" for group, value in account.ranker.items()]
    return lines + [f"  he would read: {plain(reason.text)}" for reason in found.reasons]
