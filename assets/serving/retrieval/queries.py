"""What the service's endpoints do: a query computed in a thread when its turn comes, its JSON included."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import HTTPException, Response
from pydantic import TypeAdapter

from assets.serving.retrieval.admission import RETRY_AFTER, Admission
from assets.serving.retrieval.answers import Recommendations, Similar, Version
from assets.serving.retrieval.follower import Follower
from assets.serving.retrieval.retriever import Retriever, UnknownItemError
from assets.serving.retrieval.served import ServedLog

ONE, SEVERAL, NEAR = TypeAdapter(Recommendations), TypeAdapter(list[Recommendations]), TypeAdapter(Similar)


@dataclass(frozen=True)
class Wish:
    """How users want to be answered, see :meth:`~assets.serving.retrieval.retriever.Retriever.recommend`."""

    k: int
    new_only: bool
    why: bool
    at: datetime | None


@dataclass(frozen=True)
class Queries:
    """Answers requests.

    Attributes:
        follower: has the retriever.
        admission: lets queries through.
        served: where it is said which state answered.
        clock: wall clock, microseconds.
    """

    follower: Follower
    admission: Admission
    served: ServedLog
    clock: Callable[[], int]

    async def recommend(self, user: str, wish: Wish) -> Response:
        """The answer for one user."""

        def query() -> tuple[Version, bytes]:
            (answer,) = self._recommended([user], wish)
            return answer.version, ONE.dump_json(answer)

        return await self._reply(query)

    async def recommend_many(self, users: Sequence[str], wish: Wish) -> Response:
        """The answers for several users, of one version."""

        def query() -> tuple[Version, bytes]:
            answers = self._recommended(users, wish)
            return answers[0].version, SEVERAL.dump_json(answers)

        return await self._reply(query)

    async def similar(self, item: str, k: int) -> Response:
        """What is near to an item; 404 where it is not in the index, 422 where the model has no embeddings."""

        def query() -> tuple[Version, bytes]:
            try:
                answer = ready(self.follower).similar(item, k)
            except UnknownItemError as error:
                raise HTTPException(404, str(error)) from error
            except ValueError as error:
                raise HTTPException(422, str(error)) from error
            return answer.version, NEAR.dump_json(answer)

        return await self._reply(query)

    def _recommended(self, users: Sequence[str], wish: Wish) -> list[Recommendations]:
        return ready(self.follower).recommend(users, wish.k, wish.new_only, wish.why, wish.at)

    async def _reply(self, query: Callable[[], tuple[Version, bytes]]) -> Response:
        # JSON too is written in the thread: that of many users takes longer than the event loop may be kept.
        def work() -> bytes:
            version, content = query()
            self.served.answered(version.generation, version.seq, self.clock())
            return content

        return Response(await self.admission.run(work), media_type="application/json")


def ready(follower: Follower) -> Retriever:
    """The retriever.

    Raises:
        HTTPException: 503 while there is none.
    """
    if follower.retriever is None:
        raise HTTPException(503, follower.error or "the index is being loaded", RETRY_AFTER)
    return follower.retriever
