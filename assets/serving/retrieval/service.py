"""The HTTP service: one process that answers from the live index and follows it without a restart.

    GET  /v1/recommend?user=42&k=10&new_only=false&why=true&at=2024-05-01T18:00:00Z
    POST /v1/recommend  {"users": ["42", "43"], "k": 10}
    GET  /v1/similar?item=7&k=10
    GET  /healthz   503 until an index is loaded    GET /metrics   Prometheus
    GET  /docs      what there is, without any file from elsewhere    GET /openapi.json

With a token, ``/v1`` and ``/metrics`` want ``Authorization: Bearer <token>``. Every error is {"error": "..."}; only a
body whose stated length is too large is refused in plain text, by the framework. More queries than it can do are
answered 503 with ``Retry-After`` (:mod:`assets.serving.retrieval.admission`); what a connection may cost is bounded by
:mod:`assets.serving.retrieval.clients`, whose options the server must be run with.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from assets.config import ServiceConfig
from assets.serving.live.requests import InstantError
from assets.serving.retrieval.admission import Admission, AdmittedApp, OverloadedError, refused
from assets.serving.retrieval.answers import Recommendations, Similar
from assets.serving.retrieval.follower import Follower
from assets.serving.retrieval.manual import manual_page
from assets.serving.retrieval.meters import MeteredApp, Meters
from assets.serving.retrieval.queries import Queries, Wish
from assets.serving.retrieval.refusals import NOT_INDEXED, NOT_READY, QUERY_REFUSED, TOKEN_WANTED
from assets.serving.retrieval.retriever import Retriever, wall_clock
from assets.serving.retrieval.served import ServedLog

LONGEST_ID = 256
USUAL_K = 10
TITLE = "Thaw retrieval"
COUNT = "items to return"
NEW = "choose among items that became available lately"
EXPLAINED = "name the items of the user's history nearest to each result"
AT = (
    "ask as of this instant, ISO 8601 with a time zone, not before the latest engagement;"
    " by default now, or a day after the latest engagement where that is earlier"
)
PATHS = frozenset({"/v1/recommend", "/v1/similar", "/healthz", "/metrics", "/docs", "/openapi.json"})

Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]


def create_app(
    opening: Callable[[], Retriever],
    config: ServiceConfig,
    served: ServedLog,
    token: str | None = None,
    clock: Callable[[], int] = wall_clock,
) -> FastAPI:
    """The service.

    Args:
        opening: opens the retriever; called again and again until there is an index.
        config: bounds.
        served: where it says what it served.
        token: that clients must show, if any.
        clock: wall clock, microseconds.
    """
    follower = Follower(opening, config.poll_milliseconds / 1000, served, clock)
    admission = Admission(config)
    meters = Meters(follower, admission)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        follower.start()
        yield
        admission.close()
        follower.stop()

    app = FastAPI(
        title=TITLE,
        version="1",
        description="Recommendations from an index that is updated while it answers.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page loads its scripts from another host
        redoc_url=None,
        max_body_size=config.max_body_bytes,
    )
    app.state.follower = follower
    app.add_middleware(AdmittedApp, admission=admission)
    app.add_middleware(MeteredApp, meters=meters, paths=PATHS)  # the outer one: it counts what the other refuses
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(InstantError, _impossible)
    app.add_exception_handler(OverloadedError, _overloaded)
    guarded = [Depends(_guard(token))]
    app.include_router(
        _queries(Queries(follower, admission, served, clock), config), dependencies=guarded, responses=QUERY_REFUSED
    )
    app.include_router(_state(follower))
    app.include_router(_metrics(meters), dependencies=guarded, responses=TOKEN_WANTED)

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(manual_page(app.openapi()))

    return app


def _queries(queries: Queries, config: ServiceConfig) -> APIRouter:
    router, usual = APIRouter(prefix="/v1", tags=["queries"]), min(USUAL_K, config.max_k)
    count = Annotated[int, Query(ge=1, le=config.max_k, description=COUNT)]
    new = Annotated[bool, Query(description=NEW)]
    explained = Annotated[bool, Query(description=EXPLAINED)]

    class Asked(BaseModel):
        """Several users at once."""

        model_config = ConfigDict(extra="forbid")

        users: list[Id] = Field(min_length=1, max_length=config.max_users, description="user ids")
        # true is no number, and "yes" no truth value; the document says so, and clients that err are told.
        k: Annotated[int, BeforeValidator(_a_number)] = Field(usual, ge=1, le=config.max_k, description=COUNT)
        new_only: bool = Field(False, description=NEW, strict=True)
        why: bool = Field(False, description=EXPLAINED, strict=True)
        at: AwareDatetime | None = Field(None, description=AT)

    @router.get("/recommend", response_model=Recommendations)
    async def recommend(
        user: Annotated[str, Query(min_length=1, max_length=LONGEST_ID, description="user id")],
        k: count = usual,
        new_only: new = False,
        why: explained = False,
        at: Annotated[AwareDatetime | None, Query(description=AT)] = None,
    ) -> Response:
        """The best items for a user, without those engaged with before; what is popular for an unknown user."""
        return await queries.recommend(user, Wish(k, new_only, why, at))

    @router.post("/recommend", response_model=list[Recommendations])
    async def recommend_many(asked: Asked) -> Response:
        """The same for several users, in their order."""
        wish = Wish(asked.k, asked.new_only, asked.why, asked.at)
        return await queries.recommend_many(asked.users, wish)

    @router.get("/similar", response_model=Similar, responses=NOT_INDEXED)
    async def similar(
        item: Annotated[str, Query(min_length=1, max_length=LONGEST_ID, description="item id")],
        k: count = usual,
    ) -> Response:
        """The items whose embeddings are nearest to that of an item, by cosine."""
        return await queries.similar(item, k)

    return router


def _a_number(value: object) -> object:
    """What pydantic would make an integer of, but for what JSON says is none; 10.0 is one."""
    if isinstance(value, bool | str):
        raise ValueError("must be a number")
    return value


def _state(follower: Follower) -> APIRouter:
    router = APIRouter(tags=["state"])

    @router.get("/healthz", responses=NOT_READY)
    def healthz(response: Response) -> dict[str, Any]:
        """Whether an index is loaded (503 until then), which one, and how many deltas it is behind."""
        retriever = follower.retriever
        if retriever is None:
            response.status_code = 503
            return {"status": "no index yet", "error": follower.error}
        version = retriever.version
        return {
            "status": "ok" if follower.error is None else "not following",
            "error": follower.error,
            "generation": version.generation,
            "seq": version.seq,
            "watermark": version.watermark,
            "lag": retriever.lag,
            "items": retriever.size,
        }

    return router


def _metrics(meters: Meters) -> APIRouter:
    router = APIRouter(tags=["state"])

    @router.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Counters in Prometheus' text format."""
        return Response(generate_latest(meters.registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _guard(token: str | None) -> Callable[..., Awaitable[None]]:
    """A dependency that lets nobody through without the token; everybody where there is none."""
    if token is None:
        return _everybody
    bearer = HTTPBearer(auto_error=False)
    expected = token.encode()

    async def guard(shown: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        if shown is None or not secrets.compare_digest(shown.credentials.encode(), expected):
            raise HTTPException(
                401, "a bearer token is needed: Authorization: Bearer <token>", {"WWW-Authenticate": "Bearer"}
            )

    return guard


async def _everybody() -> None:
    """Not a plain function: FastAPI would call it in a thread, which takes longer than a query's own work."""


def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _impossible(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 422)


def _overloaded(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OverloadedError)
    return refused(error)


def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Which parameter is wrong and how, without repeating what was sent."""
    assert isinstance(error, RequestValidationError)
    problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return JSONResponse({"error": "; ".join(problems)}, 422)
