"""The application: `create_app(settings)`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer

from api import dashboard, problems
from api.middleware import Guard
from api.process_pool import THREADS
from api.routes import PROBLEMS, catalogue, events, files, health, studies, tables, trials
from api.service import Service
from api.settings import Settings
from tuner import __version__


def create_app(settings: Settings) -> FastAPI:
    """The API and the dashboard over one study database.

    Raises:
        Usage, Fault: if the database cannot be used.
    """
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = THREADS
        following = asyncio.create_task(service.feed.run())
        yield
        service.feed.close()
        await following
        service.close()

    app = FastAPI(
        title="text-vae-tuner",
        version=__version__,
        description="Start, watch and compare studies. Errors are `application/problem+json`.",
        lifespan=lifespan,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    problems.handle(app)
    # What it requires is checked by the guard, before any route; here it is told.
    key: Any = Depends(HTTPBearer(auto_error=False, description="A key of `tuner key create`."))
    for module in (catalogue, studies, trials, tables, files, events):
        app.include_router(
            module.router, prefix="/v1", responses=PROBLEMS, dependencies=[key, Depends(problems.known_query)]
        )
    app.include_router(health.router, responses=PROBLEMS)
    dashboard.mount(app)
    app.add_middleware(Guard, settings=settings, service=service)
    return app
