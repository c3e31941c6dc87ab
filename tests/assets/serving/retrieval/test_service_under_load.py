"""The service asked for some seconds by several clients in every way while its index is updated and compacted.

``tests/faults/test_load.py`` does so for a minute, beside a load generator.
"""

import threading
from collections.abc import Callable

import httpx

from tests.assets.serving.retrieval.stress import Answer, Stress
from tests.assets.serving.retrieval.test_service import app_of, client_of, lines_of, wait_until
from tests.assets.serving.retrieval.world import World

SECONDS = 5.0
CLIENTS = 4
LEAST_PER_SECOND = 4
"""Queries and updates on a machine that is busy with other things; an idle one does hundreds."""


def asking(http: httpx.Client, world: World) -> Callable[[int], Answer]:
    """Asks for one user and for several by turns; whoever is asked for beside the group's user is checked too."""
    turn = threading.local()

    def ask(group: int) -> Answer:
        turn.number = getattr(turn, "number", 0) + 1
        if turn.number % 2:
            return answer(http.get("/v1/recommend", params={"user": f"u{group}", "k": world.half}))
        other = (group + 1) % world.groups
        several = http.post("/v1/recommend", json={"users": [f"u{group}", "nobody", f"u{other}"], "k": world.half})
        assert several.status_code == 200, several.text
        first, nobody, second = several.json()
        assert len({str(one["version"]) for one in (first, nobody, second)}) == 1, "one answer of several versions"
        assert len(nobody["results"]) == world.half
        wrong = world.problems(other, *parts(second), world.user(other)[1])
        assert not wrong, wrong
        return parts(first)

    return ask


def answer(response: httpx.Response) -> Answer:
    assert response.status_code == 200, response.text
    return parts(response.json())


def parts(content: dict) -> Answer:
    results = content["results"]
    return [result["item_id"] for result in results], [result["score"] for result in results]


def test_every_answer_is_whole_and_none_is_an_error(world: World) -> None:
    with client_of(app_of(world)) as http:
        hidden = [world.user(group)[1] for group in range(world.groups)]
        stress = Stress(world, asking(http, world), hidden.__getitem__, refresh=None, readers=CLIENTS, pause=0.02)
        least = LEAST_PER_SECOND * SECONDS
        outcome = stress.run(
            SECONDS,
            lambda so_far: min(so_far.queries, so_far.deltas) > least and so_far.compactions > 0 and so_far.oldest > 1,
        )
        assert outcome.problems == []
        assert outcome.queries > least
        assert outcome.deltas > least
        assert outcome.compactions == outcome.deltas // stress.deltas_per_compaction > 0
        assert outcome.oldest > 1
        wait_until(lambda: http.get("/healthz").json()["seq"] == outcome.deltas)
        counts = http.get("/metrics").text.splitlines()
        assert [
            line for line in counts if 'path="/v1' in line and 'status="' in line and 'status="200"' not in line
        ] == []
        assert "thaw_refresh_errors_total 0.0" in counts
    assert max(line["seq"] for line in lines_of(world)) == outcome.deltas
