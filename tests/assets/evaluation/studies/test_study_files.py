"""A study's files belong together and to the tables, or are not read."""

from dataclasses import replace

import pandas as pd
import pytest

from assets.config import Settings, SplitConfig
from assets.evaluation.files import StaleResultsError
from assets.evaluation.studies import files
from assets.evaluation.studies.files import figure_path, read_study, table_path, text_path, write_study
from assets.evaluation.studies.registry import Step, Study
from assets.storage import Storage
from tests.assets.evaluation.toy import toy_rows
from tests.support import interactions_frame, write_tables

Toy = tuple[Storage, Settings]
STUDY = Study("mine", "My study", (Step(["studies", "mine"]),))
TABLE = pd.DataFrame({"variant": ["a", "b"], "value": [1.0, 2.0]})


def test_what_was_written_is_read(toy: Toy) -> None:
    storage, settings = toy
    write_study(storage, settings, "mine", TABLE, "text\n", b"png", {"k": [5]})
    found = read_study(storage, settings, STUDY)
    pd.testing.assert_frame_equal(found.table, TABLE)
    assert (found.text, found.figure) == ("text\n", figure_path(storage, "mine"))
    assert (found.account["dataset"], found.account["seeds"], found.account["config"]) == ("toy", [0], {"k": [5]})
    assert found.account["split"]["kind"] == "median_time"
    assert set(found.account["files"]) == {"mine.md", "mine.png"}


def test_an_older_figure_goes(toy: Toy) -> None:
    storage, settings = toy
    write_study(storage, settings, "mine", TABLE, "text\n", b"png")
    write_study(storage, settings, "mine", TABLE, "text\n")
    assert not figure_path(storage, "mine").exists()
    assert read_study(storage, settings, STUDY).figure is None


def test_without_results_the_command_is_named(toy: Toy) -> None:
    with pytest.raises(FileNotFoundError, match="thaw studies --dataset toy --only mine"):
        read_study(*toy, STUDY)


@pytest.mark.parametrize("harm", ["text", "figure", "no figure", "no text"])
def test_files_of_another_run_are_stale(toy: Toy, harm: str) -> None:
    storage, settings = toy
    write_study(storage, settings, "mine", TABLE, "text\n", b"png")
    path = text_path(storage, "mine") if "text" in harm else figure_path(storage, "mine")
    path.unlink() if harm.startswith("no ") else path.write_bytes(b"another")
    with pytest.raises(StaleResultsError, match=r"another files than .* run `thaw studies --dataset toy --only mine`"):
        read_study(storage, settings, STUDY)


@pytest.mark.parametrize("change", ["tables", "split", "format"])
def test_numbers_of_other_tables_splits_or_code_are_stale(
    toy: Toy, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, settings = toy
    write_study(storage, settings, "mine", TABLE, "text\n")
    if change == "tables":
        write_tables(settings.home, interactions_frame(toy_rows()[:-1]), "2020-01-07", "2020-01-06")
    if change == "split":
        settings = settings.model_copy(update={"split": SplitConfig(windows=2)})
    if change == "format":
        monkeypatch.setattr(files, "FORMAT", files.FORMAT + 1)
    with pytest.raises(StaleResultsError, match=f"another {change}"):
        read_study(storage, settings, STUDY)


def test_a_table_without_an_account_is_nobodys(toy: Toy) -> None:
    storage, settings = toy
    write_study(storage, settings, "mine", TABLE, "text\n")
    TABLE.to_parquet(table_path(storage, "mine"))
    with pytest.raises(StaleResultsError, match="does not say what it was made from"):
        read_study(storage, settings, STUDY)
    with pytest.raises(FileNotFoundError):
        read_study(storage, settings, replace(STUDY, name="other"))
