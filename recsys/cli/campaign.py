"""`recsys campaign`: from a brief to a plan, and on. Each verb is a file of its own that adds itself to the group."""

import typer

from recsys.cli import (
    campaign_content,
    campaign_dispatch,
    campaign_example,
    campaign_export,
    campaign_lifecycle,
    campaign_plan,
    campaign_replay,
    campaign_report,
    campaign_work,
)


def campaign_commands() -> typer.Typer:
    """The group with its verbs."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Campaigns for the marketing team. Start with [bold]recsys campaign example[/bold].",
    )
    for verb in (
        campaign_example,
        campaign_content,
        campaign_plan,
        campaign_lifecycle,
        campaign_dispatch,
        campaign_report,
        campaign_export,
        campaign_replay,
        campaign_work,
    ):
        verb.register(group)
    return group
