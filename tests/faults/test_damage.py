"""Files damaged, cut short or removed: who reads them says what and the way out, and ``thaw run`` mends it."""

import pytest

from tests.faults import graph
from tests.faults.conftest import Undisturbed

DAMAGES = (
    "checkpoint, a byte",
    "checkpoint, cut short",
    "checkpoint, manifest cut short",
    "index file, a byte",
    "index file, cut short",
    "index file, removed",
    "served checkpoint, a byte",
    "store, other content",
    "generation's record, cut short",
    "pointer, cut short",
    "exported table, cut short",
    "raw table, cut short",
    "ranks, cut short",
    "warehouse, removed",
    "warehouse, other content",
)


@pytest.mark.timeout(graph.TEST_SECONDS)
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_and_mended(undisturbed: Undisturbed, name: str, diary: list[dict[str, object]]) -> None:
    home = undisturbed.whole_home()
    said, parts = graph.call(home, "damages:damage_and_read", name)
    told = graph.carry_out(home).told
    assert told is not None
    problems = undisturbed.problems_of(home, told)
    diary.append({"damage": name, "said": said, "made": len(told.made), "problems": problems})
    assert not problems
    assert told.made, "nothing noticed it"
    for part in parts:
        assert part in (said or "")


def test_every_damage_is_tried(tmp_path: object, undisturbed: Undisturbed) -> None:
    assert graph.call(undisturbed.whole_home(), "damages:names") == list(DAMAGES)
