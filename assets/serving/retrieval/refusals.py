"""What the service answers where it does not answer a query, as its OpenAPI document has it."""

from typing import Any, Final

from pydantic import BaseModel

Responses = dict[int | str, dict[str, Any]]


class Problem(BaseModel):
    """What is wrong, without repeating what was sent."""

    error: str


def _problem(why: str) -> dict[str, Any]:
    return {"model": Problem, "description": why}


TOKEN_WANTED: Final[Responses] = {401: _problem("a token is needed, and was not shown")}

QUERY_REFUSED: Final[Responses] = {
    **TOKEN_WANTED,
    400: _problem("the body is not UTF-8"),
    413: {"description": "the body is larger than service.max_body_bytes", "content": {"text/plain": {}}},
    422: _problem("a parameter is not valid, or the instant lies before the latest engagement"),
    503: _problem("there is no index yet, or too many queries at once: ask again after Retry-After"),
}
NOT_INDEXED: Final[Responses] = {404: _problem("the item is not in the index")}
NOT_READY: Final[Responses] = {503: {"model": dict[str, Any], "description": "no index is loaded yet"}}
