"""Where a store lies on a Redis server, and the three scripts that have to happen there in one step.

All keys of a store begin with ``thaw:{<namespace>}:``, so that a cluster keeps them on one shard: a transaction cannot
span two.

    <table>         hash: key -> value, as of the latest commit
    <table>:keys    sorted set of its keys, all of score 0: what ordered scans read
    version         number of the latest commit; absent before the first
    undo            sorted set of the commits whose undo records are kept, by their number
    undo:<n>        hash: of every table that commit n changed, its number of keys before; the record's mark
    undo:<n>:<table>  hash: every key that commit n changed -> its value before (ABSENT, or PRESENT and the value)
    readers         sorted set "<version>:<random>" -> when its lease ends, milliseconds by the server's clock
    lock            who writes, with an end of its own
    fence           counts writers; a commit needs that its own is the latest
"""

from dataclasses import dataclass
from typing import Final

from assets.serving.store.interface import Table

ABSENT: Final = b"\x00"
PRESENT: Final = b"\x01"

BEGIN_READING: Final = """
local now = redis.call('TIME')
local version = redis.call('GET', KEYS[1]) or '0'
local member = version .. ':' .. ARGV[1]
redis.call('ZADD', KEYS[2], now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2], member)
return member
"""
"""KEYS: version, readers. ARGV: random, milliseconds of the lease."""

LIVE_READERS: Final = """
local now = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now[1] * 1000)
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""
"""KEYS: readers. Forgets those whose lease has ended, to the second."""

PAGE: Final = """
local keys = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
local values = {}
if #keys > 0 then values = redis.call('HMGET', KEYS[3], unpack(keys)) end
return {redis.call('GET', KEYS[1]) or '0', keys, values}
"""
"""KEYS: version, keys, values. ARGV: lower, upper, the most keys. One state: nothing happens within a script."""

LOCK: Final = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call('INCR', KEYS[2]) end
return 0
"""
"""KEYS: lock, fence. ARGV: who, milliseconds. Returns the number to fence with, 0 where another one writes."""

IF_MINE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
"""KEYS: lock. ARGV: who, milliseconds. Prolongs the lock, or gives it back (0)."""


@dataclass(frozen=True)
class Names:
    """Names of one store's keys."""

    namespace: str

    def of(self, name: str) -> str:
        return f"thaw:{{{self.namespace}}}:{name}"

    @property
    def version(self) -> str:
        return self.of("version")

    @property
    def readers(self) -> str:
        return self.of("readers")

    @property
    def undo(self) -> str:
        return self.of("undo")

    @property
    def lock(self) -> str:
        return self.of("lock")

    @property
    def fence(self) -> str:
        return self.of("fence")

    def values(self, table: Table) -> str:
        return self.of(table.value)

    def keys(self, table: Table) -> str:
        return self.of(f"{table.value}:keys")

    def mark(self, version: int) -> str:
        return self.of(f"undo:{version}")

    def before(self, version: int, table: Table) -> str:
        return self.of(f"undo:{version}:{table.value}")

    def undone(self, version: int) -> list[str]:
        """Every key that the undo record of a commit may have."""
        return [self.mark(version), *(self.before(version, table) for table in Table)]

    def fixed(self) -> list[str]:
        """Every key but the undo records."""
        tables = [name for table in Table for name in (self.values(table), self.keys(table))]
        return [*tables, self.version, self.readers, self.undo, self.lock, self.fence]
