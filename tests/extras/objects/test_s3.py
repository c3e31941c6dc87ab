"""Objects on S3, as moto's server plays it."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.objects import store
from assets.objects.store import ObjectsError, ObjectStore
from tests.assets.objects.contract import *  # noqa: F403 - the same for every kind of objects
from tests.assets.objects.contract import Machine
from tests.extras.needs import needs

needs("s3fs", "moto", "boto3")

PART = 5 * 2**20
"""Bytes of the smallest part that S3 takes."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - an extra

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def url(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    import boto3  # noqa: PLC0415 - an extra

    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"thaw-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/prefix/of/ours"


def test_a_file_of_several_parts_comes_back_whole(here: Machine, there: Machine) -> None:
    content = bytes(range(256)) * (60 * 2**20 // 256) + b"end"  # s3fs sends parts of 50 MiB
    here.write({"tables/large.parquet": content})
    here.push()
    there.pull()
    assert there.files() == {"tables/large.parquet": content}


def test_a_large_file_that_is_another_one_while_it_is_sent_gets_no_name(
    here: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "IN_MEMORY_BYTES", 0)
    here.write({"tables/large.parquet": b"one"})
    send = here.store._fs.put_file

    def change(source: str, target: str) -> None:
        Path(source).write_bytes(b"two")
        send(source, target)
        Path(source).write_bytes(b"one")  # as it was: only when it was written tells

    monkeypatch.setattr(here.store._fs, "put_file", change)
    with pytest.raises(ObjectsError, match="changed while it was sent"):
        here.push()
    assert here.store._fs.find(f"{here.store._root}/blobs") == []


def test_a_bucket_that_is_not_there_is_named(url: str) -> None:
    objects = ObjectStore("s3://no-such-bucket-of-ours/x", "toy", attempts=1)
    assert objects.manifest("tables") is None  # S3 says the same of a missing key
    with pytest.raises(ObjectsError, match="no-such-bucket-of-ours"):
        objects._tried("write", lambda: objects._put_bytes(b"x", objects._stage("tables")))


def test_a_server_that_is_gone_is_named_after_the_attempts(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    pauses: list[float] = []
    objects = ObjectStore(url, "toy", attempts=2, pause=pauses.append)
    with pytest.raises(ObjectsError, match="in 2 attempts"):
        objects.manifest("tables")
    assert pauses == [0.5]
