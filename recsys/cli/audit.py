"""`recsys audit`: is the decision log whole, why was a decision made, why is a product not shown."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from recsys.cli.audit_explain import explain
from recsys.cli.audit_store import open_log
from recsys.cli.terminal import JsonOption, console, emit, plain


def audit_commands() -> typer.Typer:
    """The group of verbs."""
    group = typer.Typer(no_args_is_help=True, help="Check the decision log, replay a decision, ask why not, or why.")
    group.command()(verify)
    group.command()(replay)
    group.command("why-not")(why_not)
    group.command()(explain)
    return group


def verify(
    context: typer.Context,
    anchor: Annotated[
        str | None, typer.Option(help="SEQUENCE:HASH that an earlier run printed and that you keep elsewhere.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Walk the decision log and name the first row that was changed, removed or moved. Exits with 1 if there is one.

    Example: recsys audit verify

    Example: recsys audit verify --anchor 1200:9f2c...
    """
    from serving.store.verification import Anchor
    from serving.store.verification import verify as walk

    expected = None if anchor is None else Anchor.parse(anchor)
    with open_log(context.obj) as (store, _), console.status("walking the decision log"):
        found = walk(store, expected)
    head = f"{found.head.sequence}:{found.head.hash}"
    result = {"ok": found.finding is None, "rows": found.rows, "erased": found.erased, "anchor": head}
    if found.finding is None:
        emit(
            result,
            as_json,
            [f"[green]whole[/green]: {found.rows:,} decisions, {found.erased:,} erased", f"anchor {head}"],
        )
        return
    bad = found.finding
    name = f"row {bad.sequence}" + (f" (decision {bad.decision_id})" if bad.decision_id else "")
    emit({**result, "finding": bad._asdict()}, as_json, [f"[red]✗[/red] {plain(name)}: {plain(bad.problem)}"])
    raise typer.Exit(1)


def replay(
    context: typer.Context,
    decision: Annotated[str, typer.Argument(help="The decision_id of an answer.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Decide again from the log alone. Exits with 1 if the answer is not identical, and says which input changed.

    Example: recsys audit replay 423a1cbb9148450cbd5c3dcd17cdcae9
    """
    import torch

    from serving.live_catalogue import open_live_catalogue
    from serving.loading import load_champion
    from serving.replay import Replayer
    from serving.store.decisions import DecisionStore

    with open_log(context.obj) as (store, settings), console.status("deciding again"):
        torch.set_num_threads(settings.torch_threads)  # another number of threads adds in another order
        catalogue = open_live_catalogue(store, context.obj)
        replayer = Replayer(
            DecisionStore(store),
            lambda version, revision: catalogue.assemble(load_champion(settings.home, version), revision),
        )
        found = replayer.replay(decision)
    word = "[green]identical[/green]" if found.identical else "[red]not identical[/red]"
    lines = [f"{word}: decision {plain(decision)}"]
    lines += [f"  differs: {plain(name)}" for name in found.differences]
    lines += [f"  input changed: {plain(name)}" for name in found.changed_inputs]
    emit(found._asdict(), as_json, lines)
    if not found.identical:
        raise typer.Exit(1)


def why_not(
    context: typer.Context,
    customer: Annotated[str, typer.Argument(help="The customer's id.", show_default=False)],
    product: Annotated[str, typer.Argument(help="The product's id.", show_default=False)],
    channel: Annotated[str | None, typer.Option(help="Where it would be shown; by default on any channel.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Name every rule that keeps a product from a customer now, with its source.

    Example: recsys audit why-not c0000001 p0007
    """
    from serving.live_catalogue import open_live_catalogue
    from serving.loading import load_champion
    from serving.store.facts import FactStore
    from serving.why_not import why_not as ask

    with open_log(context.obj) as (store, settings), console.status("asking the rules"):
        model = open_live_catalogue(store, context.obj).assemble(load_champion(settings.home))
        found = ask(model, FactStore(store), customer, product, datetime.now(UTC), channel)
    rules = [{**rule._asdict(), "effective_from": rule.effective_from.isoformat()} for rule in found.rules]
    lines = [f"{plain(customer)} and {plain(product)} under {found.policy} (risk assessment: {found.suitability})"]
    lines += [f"  [red]{rule.rule}[/red] {plain(rule.source)}" for rule in found.rules]
    if not found.rules:
        lines.append("  [green]no rule removes it[/green]: it may be shown, where it ranks high enough")
    result = {"customer_id": customer, "product_id": product, "policy": found.policy}
    emit({**result, "suitability": found.suitability, "rules": rules}, as_json, lines)
