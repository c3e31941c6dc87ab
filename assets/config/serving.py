"""The index, the freshness path and the service."""

from typing import Literal, Self

from pydantic import Field, model_validator

from assets.config.base import StrictModel

IndexKind = Literal["ivf", "milvus"]
StoreKind = Literal["lmdb", "redis"]


class IndexConfig(StrictModel):
    """Vector index of item embeddings."""

    kind: IndexKind = Field(
        "ivf", description="ivf: FAISS in this process; milvus: collections on the server that THAW_MILVUS_URI names"
    )
    minimum_recall: float = Field(0.95, gt=0, le=1, description="recall@10 against exact search below this fails")
    queries: int = Field(1000, ge=1, description="user embeddings the self-check searches with")


class StoreConfig(StrictModel):
    """The key-value store that features, vectors and deltas are in."""

    kind: StoreKind = Field(
        "lmdb", description="lmdb: files of the generation; redis: the server that THAW_REDIS_URL names"
    )
    trust_server: bool = Field(
        False,
        description="do not ask the server whether it syncs every commit and evicts nothing, which it may not tell",
    )

    @model_validator(mode="after")
    def _trust_has_an_effect(self) -> Self:
        if self.trust_server and self.kind == "lmdb":
            raise ValueError("store.trust_server is without effect on lmdb: take it out, or set store.kind to redis")
        return self


class TriggerConfig(StrictModel):
    """When a touched item is embedded again (IHM paper, section 4: real-time embedding inference)."""

    on_engagement: bool = Field(True, description="every engagement triggers; else every `every`-th one does")
    every: int = Field(10, ge=1, description="engagements since the last embedding that trigger, without on_engagement")
    minimum_interval_seconds: float = Field(
        0.0, ge=0, description="between two embeddings of one item; what comes sooner waits"
    )
    maximum_wait_seconds: float = Field(
        3600.0, ge=0, description="a touched item that nothing triggered is embedded after this long"
    )


class FreshnessConfig(StrictModel):
    """The path from a landed file to a searchable item."""

    partition: Literal["day", "hour"] = Field("day", description="span of a partition of landed engagements, UTC")
    trigger: TriggerConfig = TriggerConfig()
    retention_days: int = Field(
        365, ge=1, description="a row this much older than the latest engagement is set aside: it may be a repetition"
    )
    max_quarantine_share: float = Field(
        0.05, ge=0, le=1, description="refuse a landed file of which more than this share of rows is set aside"
    )
    files_per_run: int = Field(2000, ge=1, description="landed files that one run takes, at most")
    partitions_per_run: int = Field(31, ge=1, description="partitions that one run takes, at most")
    sensor_seconds: int = Field(5, ge=1, description="between two looks at the landing folder")
    attempts: int = Field(5, ge=1, description="runs for the same files before they are left to a person")
    compact_share: float = Field(
        0.2, gt=0, description="the index is compacted when its deltas hold this share of the catalog"
    )
    ats_p95_seconds: float = Field(60.0, gt=0, description="action-to-serving latency that a check allows")
    new_item_days: float = Field(7.0, gt=0, description="items available for at most this long count as new")


class ServiceConfig(StrictModel):
    """The HTTP service; its bearer token comes from the environment alone (``THAW_SERVICE_TOKEN``)."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    max_k: int = Field(100, ge=1)
    max_users: int = Field(100, ge=1, description="users of one request")
    max_body_bytes: int = Field(65_536, ge=1)
    poll_milliseconds: int = Field(50, ge=1, description="between two looks for new deltas")
    max_running: int = Field(2, ge=1, le=64, description="queries computed at once, each in a thread")
    max_waiting: int = Field(64, ge=0, description="queries that wait for their turn; what is more is refused at once")
    max_wait_seconds: float = Field(1.0, gt=0, description="a query that had no turn for so long is refused")
    max_connections: int = Field(500, ge=1, description="open at once; more, and those idle the longest are closed")
    max_header_bytes: int = Field(16_384, ge=1024, description="of a request's address and headers together")
    client_seconds: float = Field(
        10.0, gt=0, description="for a whole request to arrive, and for a client to take in some of its answer"
    )
