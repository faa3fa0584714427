"""Puts the studio into the service."""

from fastapi import Depends, FastAPI

from serving.settings import Settings
from serving.web.local import own_site
from serving.web.studio import builder, copydesk, door, overview, results
from serving.web.studio.session import Sessions, install_login


def install_studio(app: FastAPI, settings: Settings) -> None:
    """The pages at `/studio`."""
    app.state.sessions = Sessions(settings.signing_key())
    app.state.studio_settings = settings
    install_login(app)
    for module in (door, builder, results, copydesk, overview):
        app.include_router(module.router, dependencies=[Depends(own_site)])
