"""Two copies and a value that is replaced: what readers and the writer may rely on."""

import threading

import pytest

from assets.serving.retrieval.switch import Switch
from assets.serving.retrieval.twin import Twin


def test_a_change_reaches_both_copies_and_is_published_in_between() -> None:
    first, second = [1], [1]
    twin, seen = Twin(first, second), []

    def published() -> None:
        with twin.reading() as value:
            seen.append((list(value), list(first), list(second)))

    twin.write(lambda value: value.append(2), published)
    assert seen == [([1, 2], [1], [1, 2])]
    assert first == second == [1, 2]


def test_readers_do_not_wait_for_a_change_and_do_not_see_it_before_it_is_whole() -> None:
    twin: Twin[list[int]] = Twin([], [])
    half_way, go_on = threading.Event(), threading.Event()

    def change(value: list[int]) -> None:
        value.append(1)
        half_way.set()
        go_on.wait(60)
        value.append(2)

    writing = threading.Thread(target=twin.write, args=(change,))
    writing.start()
    assert half_way.wait(60)
    with twin.reading() as value:
        assert value == []
    go_on.set()
    writing.join()
    with twin.reading() as value:
        assert value == [1, 2]


def test_a_copy_is_not_changed_while_somebody_reads_it() -> None:
    twin: Twin[list[int]] = Twin([], [])
    published = threading.Event()
    with twin.reading() as value:
        writing = threading.Thread(target=twin.write, args=(lambda value: value.append(1), published.set))
        writing.start()
        assert published.wait(60)
        writing.join(0.1)
        assert writing.is_alive()  # it waits for this reader before it touches the second copy
        assert value == []
        with twin.reading() as other:
            assert other == [1]
    writing.join(60)
    assert not writing.is_alive()
    assert value == [1]


def test_a_reader_that_fails_is_no_reader_any_more() -> None:
    twin: Twin[list[int]] = Twin([], [])
    with pytest.raises(ZeroDivisionError), twin.reading():
        1 / 0  # noqa: B018
    twin.write(lambda value: value.append(1))
    with twin.reading() as value:
        assert value == [1]


def test_a_replaced_value_is_closed_after_its_last_user() -> None:
    closed: list[str] = []
    switch = Switch("a", closed.append)
    with switch.using() as first:
        with switch.using():
            switch.replace("b")
        assert (first, closed) == ("a", [])
        with switch.using() as second:
            assert second == "b"
    assert closed == ["a"]
    switch.close()
    switch.close()
    assert closed == ["a", "b"]
    with pytest.raises(RuntimeError, match="closed"), switch.using():
        pass
