"""The freshness path's commands, on a tiny dataset that is served."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import uvicorn
from click.testing import Result
from typer.testing import CliRunner

from assets.config import Settings
from assets.ingestion.landing.removed import read_removed
from assets.serving.retrieval.retriever import Retriever
from orchestration import live_cli
from orchestration.cli import app
from tests.assets.serving.live.conftest import Live, live, served_home, trained_home, unbuilt

__all__ = ["live", "served_home", "trained_home", "unbuilt"]

Command = Callable[..., Result]
HEADER = "user_id,item_id,timestamp\n"


@pytest.fixture
def thaw(monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("THAW_SERVICE_TOKEN", raising=False)

    def command(settings: Settings, *arguments: str) -> Result:
        monkeypatch.setattr(live_cli, "settings_of", lambda *_: settings)
        return CliRunner().invoke(app, list(arguments))

    return command


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_recommendations_with_reasons(live: Live, thaw: Command) -> None:
    done = thaw(live.settings, "recommend", "--user", "u01", "--user", "[red]nobody[/]", "-k", "2", "--why")
    assert done.exit_code == 0, done.output
    assert "For user u01" in done.output
    assert "User [red]nobody[/] has no history: what is popular" in done.output
    assert len(re.findall(r"^│ [12] ", done.output, re.MULTILINE)) == 4
    assert re.search(r"│ title of i\d\d \(-?\d\.\d\d\)", done.output)
    assert "why" not in thaw(live.settings, "recommend", "--user", "u01").output
    none = thaw(live.settings, "recommend", "--user", "u01", "--new-only")
    assert none.exit_code == 0


def test_asking_as_of_an_instant(live: Live, thaw: Command) -> None:
    assert thaw(live.settings, "recommend", "--user", "u01", "--at", "2031-05-01T18:00:00Z").exit_code == 0
    for at, words in [
        ("2024-03-01T00:00:00Z", "before the latest engagement"),
        ("soon", "Invalid isoformat"),
        ("2031-05-01", "no time zone"),
    ]:
        done = thaw(live.settings, "recommend", "--user", "u01", "--at", at)
        assert done.exit_code == 1
        assert words in done.output


def test_a_narrow_terminal_cuts_nothing_off(live: Live, thaw: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    done = thaw(live.settings, "recommend", "--user", "u01", "--why")
    assert done.exit_code == 0, done.output
    assert "\u2026" not in done.output


def test_similar_items_and_unknown_ones(live: Live, thaw: Command) -> None:
    assert "Near to title of i02" in thaw(live.settings, "similar", "--item", "i02", "-k", "3").output
    missing = thaw(live.settings, "similar", "--item", "nothing")
    assert (missing.exit_code, missing.output.strip()) == (1, "item 'nothing' is not in the index")


@pytest.mark.parametrize(
    "arguments", [["recommend", "--user", "u01"], ["similar", "--item", "i02"], ["export", "--to", "x"]]
)
def test_without_an_index_the_message_says_what_to_run(unbuilt: Live, thaw: Command, arguments: list[str]) -> None:
    done = thaw(unbuilt.settings, *arguments)
    assert done.exit_code == 1
    assert "run `thaw run` first" in done.output


def test_landing_is_all_or_nothing(live: Live, thaw: Command, tmp_path: Path) -> None:
    good = written(tmp_path, "good.csv", HEADER + "u01,i02,2024-03-08T10:00\nu02,i03,2024-03-09T10:00\n")
    bad = written(tmp_path, "bad.csv", "user,item\n1,2\n")
    drop = live.storage.landing / "engagements"
    refused = thaw(live.settings, "land", good, bad)
    assert refused.exit_code == 1
    assert "bad.csv" in refused.output
    assert not drop.exists() or not list(drop.iterdir())
    done = thaw(live.settings, "land", good)
    assert done.exit_code == 0, done.output
    assert len(list(drop.iterdir())) == 2
    assert done.output.count("1 rows") == 2
    assert thaw(live.settings, "land", str(tmp_path / "nowhere.csv")).exit_code == 2


def test_bad_rows_stop_a_landing_unless_they_are_to_be_left_out(live: Live, thaw: Command, tmp_path: Path) -> None:
    rows = "".join(f"u01,i{place:02d},2024-03-08T10:{place:02d}\n" for place in range(59))
    mixed = written(tmp_path, "mixed.csv", f"{HEADER}{rows}u02,i03,2999-01-01T10:00\n")
    refused = thaw(live.settings, "land", mixed)
    assert refused.exit_code == 1
    assert "mixed.csv: 1 of 60 rows are not valid (none may be)" in refused.output
    assert "Nothing has landed; --skip-bad-rows leaves out up to 5% of the rows of a file." in refused.output
    done = thaw(live.settings, "land", "--skip-bad-rows", mixed)
    assert done.exit_code == 0, done.output
    assert "mixed.csv: 1 rows left out: 1 x" in done.output


def test_landing_a_file_without_rows_says_so(live: Live, thaw: Command, tmp_path: Path) -> None:
    done = thaw(live.settings, "land", written(tmp_path, "empty.csv", HEADER))
    assert (done.exit_code, done.output.strip()) == (0, "empty.csv: no rows, nothing to land")


def test_landing_a_file_whose_name_is_no_text(live: Live, thaw: Command, tmp_path: Path) -> None:
    done = thaw(live.settings, "land", written(tmp_path, os.fsdecode(b"\xff.csv"), HEADER))
    assert (done.exit_code, done.output.strip()) == (0, "\ufffd.csv: no rows, nothing to land")


def test_landing_items(live: Live, thaw: Command, tmp_path: Path) -> None:
    done = thaw(live.settings, "land", "--items", written(tmp_path, "new.csv", "item_id,title\nnew,A title\n"))
    assert done.exit_code == 0, done.output
    assert len(list((live.storage.landing / "items").iterdir())) == 1


def test_forgetting_and_taking_down(live: Live, thaw: Command) -> None:
    assert "user u01: removed" in thaw(live.settings, "forget", "--user", "u01").output
    assert "item i02: removed" in thaw(live.settings, "takedown", "--item", "i02").output
    assert "not there" in thaw(live.settings, "takedown", "--item", "i02").output
    removed = read_removed(live.storage)
    assert (removed.users, removed.items) == ({"u01"}, {"i02"})
    assert "User u01 has no history" in thaw(live.settings, "recommend", "--user", "u01").output
    assert thaw(live.settings, "similar", "--item", "i02").exit_code == 1


def test_removing_before_anything_serves_is_noted(unbuilt: Live, thaw: Command) -> None:
    done = thaw(unbuilt.settings, "forget", "--user", "u01")
    assert (done.exit_code, "noted" in done.output) == (0, True)
    assert read_removed(unbuilt.storage).users == {"u01"}


def test_export(live: Live, thaw: Command, tmp_path: Path) -> None:
    done = thaw(live.settings, "export", "--to", str(tmp_path / "out"), "-k", "2")
    assert done.exit_code == 0, done.output
    with Retriever.open(live.storage, live.settings) as retriever:
        items = retriever.size
    assert f"{items} items" in done.output
    assert "15 users" in done.output
    assert pq.read_metadata(tmp_path / "out" / "embeddings.parquet").num_rows == items


def test_a_replay_that_was_not_started_is_not_resumed(live: Live, thaw: Command) -> None:
    done = thaw(live.settings, "replay", "--without-dagster", "--resume")
    assert (done.exit_code, done.output.strip()) == (1, "no replay is going on: start one, without --resume")
    assert not list((live.storage.landing / "engagements").glob("*"))


def test_a_replay_of_models_that_were_not_trained_says_how_to_name_others(live: Live, thaw: Command) -> None:
    settings = live.settings.model_copy(update={"models": ("sasrec", "ihm_sasrec")})
    done = thaw(settings, "replay", "--without-dagster")
    assert done.exit_code == 1
    assert "or name the models that were run with --models" in done.output


def test_replay_in_this_process_then_its_end(live: Live, thaw: Command) -> None:
    done = thaw(live.settings, "replay", "--without-dagster")
    assert done.exit_code == 0, done.output
    assert re.search(r"Done: (\d+) of \1 partitions, \d+ engagements, searchable after p50", done.output)
    again = thaw(live.settings, "replay", "--without-dagster", "--resume")
    assert again.exit_code == 0, again.output
    assert "The replay has ended" in thaw(live.settings, "replay", "--end").output
    assert "No replay is going on" in thaw(live.settings, "replay", "--end").output


def test_a_replay_is_refused_where_real_engagements_landed(live: Live, thaw: Command) -> None:
    live.land([("u01", "i02", "2024-03-08T10:00")])
    live.process()
    done = thaw(live.settings, "replay", "--without-dagster")
    assert done.exit_code == 1
    assert "reset" in done.output


def test_serving_hands_everything_to_the_server(live: Live, thaw: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(uvicorn, "run", lambda service, **options: calls.append((service, options)))
    monkeypatch.setattr("torch.set_num_threads", calls.append)
    monkeypatch.setattr("sys.setswitchinterval", lambda _: None)
    done = thaw(live.settings, "serve", "--port", "8123")
    assert "http://127.0.0.1:8123" in done.output
    assert "bearer token" not in done.output
    assert calls[0] == 1
    assert (calls[1][1]["host"], calls[1][1]["port"]) == ("127.0.0.1", 8123)
    service = calls[1][0]
    follower = service.state.follower
    follower.look()
    assert follower.error is None
    assert follower.retriever.recommend(["u01"])[0].has_history
    follower.retriever.close()
    assert (live.storage.live / "served" / "port-8123.jsonl").exists()


def test_serving_to_everybody_without_a_token_is_pointed_out(
    live: Live, thaw: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("uvicorn.run", "torch.set_num_threads", "sys.setswitchinterval"):
        monkeypatch.setattr(name, lambda *_, **__: None)
    assert "Anybody who reaches 0.0.0.0" in thaw(live.settings, "serve", "--host", "0.0.0.0").output
    monkeypatch.setenv("THAW_SERVICE_TOKEN", "sesame")
    assert "Anybody" not in thaw(live.settings, "serve", "--host", "0.0.0.0").output


def test_a_token_loses_its_line_end_and_one_that_nobody_could_show_is_refused(
    live: Live, thaw: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr("assets.serving.retrieval.service.create_app", lambda *arguments: given.append(arguments[-1]))
    for name in ("uvicorn.run", "torch.set_num_threads", "sys.setswitchinterval"):
        monkeypatch.setattr(name, lambda *_, **__: None)
    for text, code in {"sesame\n": 0, " \n": 0, "open sesame": 2, "schlüssel": 2}.items():
        monkeypatch.setenv("THAW_SERVICE_TOKEN", text)
        done = thaw(live.settings, "serve")
        assert done.exit_code == code
        assert ("THAW_SERVICE_TOKEN: a bearer token has ASCII" in done.output) == bool(code)
    assert given == ["sesame", None]
