"""Puts the studio into the service."""

from fastapi import Depends, FastAPI

from serving.settings import Mode, Settings
from serving.web.local import this_machine
from serving.web.studio import builder, copydesk, door, overview, results
from serving.web.studio.session import Sessions, install_login


def install_studio(app: FastAPI, settings: Settings) -> None:
    """The pages at `/studio`; on a local server for browsers of this machine only."""
    app.state.sessions = Sessions(settings.signing_key())
    app.state.studio_settings = settings
    install_login(app)
    guard = [Depends(this_machine)] if settings.mode is Mode.LOCAL else []
    for module in (door, builder, results, copydesk, overview):
        app.include_router(module.router, dependencies=guard)
