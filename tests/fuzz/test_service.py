"""The HTTP service under requests made from its own OpenAPI document, valid ones and others, with a token and without.

Every answer has to be one that the document knows, in its form, and no answer is a fault of
the service. What a person, a proxy or an attacker sends beside the document (ids of any bytes, broken bodies and
headers) is drawn here.
"""

from collections.abc import Iterator

import httpx
import hypothesis
import pytest
import requests
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from assets.config import ServiceConfig
from assets.serving.retrieval.served import ServedLog, served_path
from assets.serving.retrieval.service import create_app
from assets.storage import Storage
from tests.assets.serving.retrieval.test_service import client_of
from tests.assets.serving.retrieval.world import World
from tests.extras.needs import needs
from tests.fuzz.test_readers import CASES, LONG

needs("schemathesis")
import schemathesis  # noqa: E402
from schemathesis.schemas import BaseSchema  # noqa: E402
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance  # noqa: E402

CONFIG = ServiceConfig(max_k=20, max_users=3, max_body_bytes=2000, poll_milliseconds=5)
TOKEN = "sesame"
OPERATIONS = (
    ("GET", "/v1/recommend"),
    ("POST", "/v1/recommend"),
    ("GET", "/v1/similar"),
    ("GET", "/healthz"),
    ("GET", "/metrics"),
)
SETTINGS = hypothesis.settings(
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)
pytestmark = pytest.mark.timeout(LONG)


@pytest.fixture(scope="module", params=[None, TOKEN], ids=["open", "guarded"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Shows the token where there is one."""
    world = World(Storage(tmp_path_factory.mktemp("service"), "toy"))
    world.promote()
    app = create_app(world.retriever, CONFIG, ServedLog(served_path(world.storage, "test")), token=request.param)
    with client_of(app) as client:
        client.headers = {"Authorization": f"Bearer {TOKEN}"} if request.param else {}
        yield client
    world.store.close()


@pytest.fixture(scope="module")
def schema(client: httpx.Client) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_an_operation_answers_as_its_document_says(
    client: httpx.Client, schema: BaseSchema, method: str, path: str, mode: str
) -> None:
    operation = schema[path][method]
    kind = schemathesis.GenerationMode(mode)
    if mode == "negative" and not (operation.query or operation.body):
        pytest.skip("it has no parameter that could be wrong")
    answered: set[int] = set()
    shown = {"Authorization": f"Bearer {TOKEN}"} if "authorization" in client.headers else {}
    session = requests.Session()

    @hypothesis.settings(SETTINGS, max_examples=max(10, CASES // 20))
    @hypothesis.given(operation.as_strategy(generation_mode=kind))
    def ask(case) -> None:
        answer = case.call(headers=shown, session=session)
        # That an instant lies before the latest engagement is the one thing that the document has no form for.
        early = answer.status_code == 422 and "before the latest engagement" in answer.text
        excluded = [positive_data_acceptance] if early else []
        if answer.status_code == 413:  # a refusal, which that check does not count among them
            excluded.append(negative_data_rejection)
        case.validate_response(answer, headers=shown, excluded_checks=excluded)
        answered.add(answer.status_code)

    ask()
    assert not any(status >= 500 for status in answered)
    assert answered & ({200, 404} if mode == "positive" else {422, 413, 401})


def test_every_operation_of_the_document_is_asked(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert {(m.upper(), path) for path, methods in document["paths"].items() for m in methods} == set(OPERATIONS)


ANY_ID = st.one_of(
    st.text(min_size=1, max_size=300),
    st.sampled_from(
        (
            "\x00",
            "\x00" * 256,
            "u0",
            "g0-0-1",
            "é" * 255,
            "\U0001f600" * 127,
            "x" * 511,
            "x" * 512,
            " ",
            "\ufeff",
            "%00",
            "..",
        )
    ),
    st.binary(min_size=1, max_size=600).map(lambda data: data.decode("utf-8", "replace")),
)


def test_any_id_is_answered_or_refused(client: httpx.Client) -> None:
    """Keys of the store have 511 bytes at most; an id of 256 characters may have 1,024."""

    @hypothesis.settings(SETTINGS, max_examples=max(20, CASES // 10))
    @hypothesis.given(ANY_ID, st.integers(-1, 22), st.booleans())
    def ask(text: str, k: int, flag: bool) -> None:
        wrong = len(text) > 256 or not 1 <= k <= 20
        params = {"k": k, "why": flag, "new_only": flag}
        one = client.get("/v1/recommend", params={"user": text, **params})
        several = client.post("/v1/recommend", json={"users": [text], **params})
        near = client.get("/v1/similar", params={"item": text, "k": k})
        assert (one.status_code, several.status_code) == ((422, 422) if wrong else (200, 200))
        assert near.status_code in ({422} if wrong else {200, 404})
        if not wrong:
            assert several.json() == [one.json()]
            assert one.json()["user_id"] == text

    ask()


def test_any_body_and_any_header_is_answered_or_refused(client: httpx.Client) -> None:
    guarded = "authorization" in client.headers
    kinds = st.sampled_from(
        ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "é")
    )
    shown = st.one_of(st.sampled_from((b"", b"Bearer", b"Basic c2VzYW1l")), st.binary(max_size=40).map(_on_a_line))

    @hypothesis.settings(SETTINGS, max_examples=max(20, CASES // 10))
    @hypothesis.given(st.one_of(st.binary(max_size=2500), st.text(max_size=200).map(_json_like)), kinds, shown)
    def ask(body: bytes, kind: str, shown: bytes) -> None:
        headers = [(b"content-type", kind.encode()), (b"authorization", shown)]
        answer = client.post("/v1/recommend", content=body, headers=headers)
        assert answer.status_code in (
            {400, 401, 413, 422} if guarded else {200, 400, 413, 422}
        )  # a body is parsed before the token is looked at
        assert len(answer.content) < 5000

    ask()


def _on_a_line(data: bytes) -> bytes:
    """What an HTTP client consents to send."""
    return bytes(byte for byte in data if byte >= 0x20 and byte != 0x7F).strip()


def _json_like(text: str) -> bytes:
    return ('{"users": ["' + text + '"]}').encode("utf-8", "surrogatepass")
