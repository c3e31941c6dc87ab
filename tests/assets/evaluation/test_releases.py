"""Releases: what is released verifies, to the last bit; whatever is changed afterwards is named."""

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from assets.config import Settings
from assets.evaluation.files import METADATA_KEY, StaleResultsError, read_info, read_results
from assets.evaluation.protocol import of_protocol
from assets.evaluation.releases import measure
from assets.evaluation.releases.measure import headline_of
from assets.evaluation.releases.record import CHECKPOINT, RECORD, Release, ReleaseError, file_records, read_release
from assets.evaluation.releases.release import trained_release, write_release
from assets.evaluation.releases.verify import Finding, Verdict, held_to, verdict_of, verify
from assets.evaluation.run import gather_metrics, rank_model
from assets.storage import file_digest, read_arrow, read_compact, write_json, write_parquet
from assets.training.checkpoints import MANIFEST, checkpoint_digest
from orchestration import verify_cli
from orchestration.cli import app
from tests.assets.evaluation.toy import toy_settings
from tests.support import write_manifest

MODELS = ("popularity", "two_tower")
NET = "two_tower"

Made = tuple[Settings, Path]


@pytest.fixture(scope="module")
def made(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A home whose net is measured, and its release beside it."""
    home = tmp_path_factory.mktemp("releases") / "home"
    shutil.copytree(trained / "data", home / "data")
    settings = toy_settings(home, MODELS)
    for model in MODELS:
        rank_model(settings.storage, settings, model)
    gather_metrics(settings.storage, settings)
    write_release(settings, NET, home.parent / "release")
    return settings, home.parent / "release"


@pytest.fixture
def own(made: Made, tmp_path: Path) -> Made:
    """Copies to change."""
    settings, release = made
    shutil.copytree(settings.home, tmp_path / "home")
    shutil.copytree(release, tmp_path / "release")
    return toy_settings(tmp_path / "home", MODELS), tmp_path / "release"


def held(settings: Settings, folder: Path) -> list[Finding]:
    return verify(read_release(folder), folder / CHECKPOINT, settings.storage)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the record as somebody would who edits it."""
    content = json.loads((folder / RECORD).read_text())
    change(content)
    (folder / RECORD).write_text(json.dumps(content))


def texts(findings: list[Finding]) -> str:
    return "\n".join(found.text for found in findings)


def test_a_release_verifies_to_the_last_bit_and_its_checkpoint_is_the_trained_one(made: Made) -> None:
    settings, folder = made
    findings = held(settings, folder)
    assert verdict_of(findings) is Verdict.SAME, texts(findings)
    assert len(findings) == 4  # files, manifest, tables, headline; nothing of the program differs
    assert "to the last bit" in findings[-1].text
    assert file_records(folder / CHECKPOINT) == file_records(settings.storage.checkpoint(NET, 0))
    release = read_release(folder)
    assert 0 < release.headline.ci_low <= release.headline.value <= release.headline.ci_high < 1
    assert release.data.files["test_cases"] == file_digest(settings.storage.table("test_cases"))


@pytest.mark.parametrize("model", MODELS)
def test_the_models_of_a_home_verify_by_their_evaluation(made: Made, model: str) -> None:
    settings, _ = made
    record = trained_release(settings, model)
    findings = verify(record, settings.storage.checkpoint(model, 0), settings.storage)
    assert verdict_of(findings) is Verdict.SAME, texts(findings)


def test_a_byte_of_the_weights(own: Made) -> None:
    settings, folder = own
    weights = next((folder / CHECKPOINT).glob("weights-*"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    findings = held(settings, folder)
    assert verdict_of(findings) is Verdict.FILES_DIFFER
    assert weights.name in texts(findings)
    assert "nothing ranked" in texts(findings)


def test_a_file_too_few_and_one_too_many(own: Made) -> None:
    settings, folder = own
    lost = next((folder / CHECKPOINT).glob("ids-0-*"))
    lost.unlink()
    (folder / CHECKPOINT / "more.txt").write_text("")
    said = texts(held(settings, folder))
    assert f"{lost} is missing" in said
    assert "more.txt is not in the record" in said


def test_a_manifest_that_somebody_edited_with_its_record(own: Made) -> None:
    settings, folder = own
    path = folder / CHECKPOINT / MANIFEST
    write_json(path, json.loads(path.read_text()) | {"seed": 7})
    files = {name: record.model_dump() for name, record in file_records(folder / CHECKPOINT).items()}
    rewritten(folder, lambda record: record.update(files=files))
    findings = held(settings, folder)
    assert verdict_of(findings) is Verdict.FILES_DIFFER
    assert "the manifest's digest is" in texts(findings)
    assert "the manifest's seed is 7, the record's 0" in texts(findings)


def test_ids_that_are_not_those_of_their_manifest(own: Made) -> None:
    settings, folder = own
    first, second = sorted((folder / CHECKPOINT).glob("ids-*"))[:2]
    shutil.copyfile(first, second)
    files = {name: record.model_dump() for name, record in file_records(folder / CHECKPOINT).items()}
    rewritten(folder, lambda record: record.update(files=files))
    findings = held(settings, folder)
    assert verdict_of(findings) is Verdict.FILES_DIFFER
    assert f"{second} is damaged" in texts(findings)


def test_other_tables_are_named_and_nothing_is_ranked(own: Made) -> None:
    settings, folder = own
    path = settings.storage.table("test_cases")
    write_parquet(path, read_arrow(path).slice(1))
    write_manifest(settings.storage)
    findings = held(settings, folder)
    assert verdict_of(findings) is Verdict.DATA_DIFFERS
    assert "table test_cases is" in texts(findings)
    assert "table items" not in texts(findings)
    assert "not ranked anew" in texts(findings)
    path.write_bytes(b"")
    assert verdict_of(held(settings, folder)) is Verdict.DATA_DIFFERS


def test_another_split_and_another_dataset_are_named(own: Made) -> None:
    settings, folder = own
    rewritten(folder, lambda record: record["data"].update(dataset="other", split={"windows": 3}, tables="0" * 64))
    said = texts(held(settings, folder))
    assert "the dataset is toy, the record's other" in said
    assert "the split's windows is" in said


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"value": 0.5}, Verdict.HEADLINE_DIFFERS),
        ({"ci_high": 0.9}, Verdict.HEADLINE_DIFFERS),
        ({"cases": 3}, Verdict.HEADLINE_DIFFERS),
        *(({name: math.nan}, Verdict.HEADLINE_DIFFERS) for name in ("value", "ci_low", "ci_high")),
        ({"ci_low": math.nan, "ci_high": math.nan}, Verdict.HEADLINE_DIFFERS),
        ({"value": "a little"}, Verdict.SAME),
    ],
)
def test_another_headline(made: Made, change: dict[str, Any], verdict: Verdict) -> None:
    release = read_release(made[1])
    found = release.headline
    if change == {"value": "a little"}:
        change = {"value": found.value + 0.5 / found.cases}
    (finding,) = held_to(release.conditions, found.model_copy(update=change), found)
    assert finding.verdict is verdict
    assert f"{found.value:.6f}" in finding.text
    assert ("is allowed between machines" in finding.text) is (verdict is Verdict.SAME)


def test_another_program_is_told_and_no_fault(own: Made) -> None:
    settings, folder = own
    rewritten(folder, lambda record: record["program"]["packages"].update(torch="0.1"))
    findings = held(settings, folder)
    assert verdict_of(findings) is Verdict.SAME
    assert "the record says 0.1" in findings[-1].text


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"model": "\ud800"}, "is not JSON"),
        ({"format": 2}, "format 2, this version reads 1"),
        ({"surprise": 1}, "surprise"),
        ({"files": {"../manifest.json": {"sha256": "", "bytes": 0}}}, "'../manifest.json'"),
        ({"headline": {}}, "headline.value"),
    ],
)
def test_records_that_are_refused(own: Made, change: dict[str, Any], word: str) -> None:
    _, folder = own
    rewritten(folder, lambda record: record.update(change))
    with pytest.raises(ReleaseError, match=word):
        read_release(folder)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        *(("headline", {name: math.nan}) for name in ("value", "ci_low", "ci_high")),
        ("headline", {"ci_high": math.inf}),
        ("headline", {"ci_low": 10**400}),
        *(("headline", {"cases": value}) for value in (0, 10**400)),
        *(("conditions", {"seed": value}) for value in (-1, 2**70)),
        *(("conditions", {"fallback": text}) for text in ("", "[]", "{" * 100_000, '{"kind": "net"}')),
        *(
            ("conditions", {"fallback": f'{{"kind": "all", "smoothing": {value}}}'})
            for value in ('"x"', -5, 0, "NaN", "Infinity", "null")
        ),
        ("conditions", {"fallback": '{"kind": "decayed", "half_life_days": 1e-300, "smoothing": 0}'}),
        ("data", {"dataset": "../other"}),
    ],
)
def test_a_record_that_no_release_has_is_refused_by_its_key(
    own: Made, part: str, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = own
    rewritten(folder, lambda record: record[part].update(change))
    (key,) = change
    with pytest.raises(ReleaseError, match=rf"{RECORD} is no record of a release \({part}\.{key}: "):
        read_release(folder)
    monkeypatch.setattr(verify_cli, "settings_of", _never)
    result = CliRunner().invoke(app, ["verify", str(folder)])
    assert (result.exit_code, f"{part}.{key}" in result.output.replace("\n", "")) == (Verdict.UNREADABLE, True)


def _never(*_: object, **__: object) -> None:
    raise AssertionError("went on")


@pytest.mark.parametrize("content", ["", "[]", "{" * 100_000, "\x00", " " * ((1 << 22) + 1)])
def test_what_is_no_record(tmp_path: Path, content: str) -> None:
    with pytest.raises(ReleaseError, match="does not exist"):
        read_release(tmp_path)
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(ReleaseError, match=RECORD):
        read_release(tmp_path)


def test_a_net_whose_scores_are_no_numbers_is_told(own: Made) -> None:
    """With a record that fits it, file by file."""
    settings, folder = own
    place = folder / CHECKPOINT
    manifest = json.loads((place / MANIFEST).read_text())
    old = place / manifest["weights"]["file"]
    weights = {name: torch.full_like(value, math.nan) for name, value in safetensors.torch.load_file(old).items()}
    content = safetensors.torch.save(weights)
    digest = hashlib.sha256(content).hexdigest()
    old.unlink()
    manifest["weights"] = {"file": f"weights-{digest[:16]}.safetensors", "sha256": digest, "bytes": len(content)}
    (place / manifest["weights"]["file"]).write_bytes(content)
    write_json(place / MANIFEST, manifest)
    files = {name: record.model_dump() for name, record in file_records(place).items()}
    rewritten(folder, lambda record: record.update(files=files, checkpoint=checkpoint_digest(manifest)))
    with pytest.raises(ReleaseError, match=f"{place} ranks nothing: .* not finite"):
        held(settings, folder)


def test_tables_without_a_case_are_told(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, folder = made
    monkeypatch.setattr(measure, "read_compact", lambda path: read_compact(path).iloc[:0])
    with pytest.raises(ReleaseError, match=r"test_cases\.parquet holds no cases to rank"):
        held(settings, folder)


def test_settings_that_no_record_may_hold_are_told(made: Made) -> None:
    settings, _ = made
    config = settings.evaluation.model_copy(update={"bootstrap_samples": 200_000})
    with pytest.raises(ReleaseError, match=r"no record may hold these settings of evaluation \(samples: "):
        trained_release(settings.model_copy(update={"evaluation": config}), NET)


def test_a_measured_nan_is_no_headline(made: Made) -> None:
    settings, _ = made
    metrics = read_results(settings.storage.metrics, [read_info(settings.storage, NET)], "metrics")
    metrics = of_protocol(metrics[metrics["model"] == NET], settings.evaluation.headline)
    assert headline_of(metrics, 10).cases > 0
    with pytest.raises(ReleaseError, match=r"is no headline \(ci_low: "):
        headline_of(metrics.assign(ci_low=math.nan), 10)


def test_nothing_is_written_over_and_a_killed_release_is_in_nobodys_way(own: Made, tmp_path: Path) -> None:
    settings, folder = own
    before = file_records(folder)
    with pytest.raises(ReleaseError, match="is there already"):
        write_release(settings, NET, folder)
    assert file_records(folder) == before
    (tmp_path / "new.partial" / CHECKPOINT).mkdir(parents=True)
    (tmp_path / "new.partial" / CHECKPOINT / "half").write_text("")
    (tmp_path / "new").mkdir()
    release = write_release(settings, NET, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "new", "release"]
    assert Release(**json.loads((tmp_path / "new" / RECORD).read_text())) == release


@pytest.mark.parametrize("out", [".", "../empty", "../linked", "../loop"])
def test_a_folder_that_no_rename_can_replace_is_refused_before_ranking(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    settings, _ = made
    here = tmp_path / "empty"
    here.mkdir()
    (tmp_path / "linked").symlink_to(here)
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(here)
    monkeypatch.setattr("assets.evaluation.releases.release.measure", _never)
    said = "leads nowhere.*: name another" if "loop" in out else f"{here} is the current directory.*: name a folder in"
    with pytest.raises(ReleaseError, match=said):
        write_release(settings, NET, Path(out))


def test_a_mount_point_is_refused_before_ranking(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    monkeypatch.setattr("assets.evaluation.releases.release.measure", _never)
    with pytest.raises(ReleaseError, match=f"{tmp_path} is a mount point.*: name a folder in it"):
        write_release(made[0], NET, tmp_path)


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed(made: Made, tmp_path: Path, there: bool) -> None:
    """To an empty folder, or to one that is not yet."""
    target, link = tmp_path / "target", tmp_path / "link"
    if there:
        target.mkdir()
    link.symlink_to(target)
    release = write_release(made[0], NET, link)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]
    assert link.is_symlink()
    assert read_release(target) == release


def test_what_evaluation_did_not_measure_is_not_released(own: Made, tmp_path: Path) -> None:
    settings, _ = own
    storage, out = settings.storage, tmp_path / "out"
    metrics = read_arrow(storage.metrics)
    frame = metrics.to_pandas()
    frame["value"] += 0.01
    account = {METADATA_KEY: metrics.schema.metadata[METADATA_KEY]}
    write_parquet(storage.metrics, metrics.from_pandas(frame).replace_schema_metadata(account))
    with pytest.raises(ReleaseError, match="where evaluation/metrics says"):
        write_release(settings, NET, out)
    rank_model(storage, toy_settings(settings.home, MODELS, seeds=1), "popularity")
    manifest = storage.checkpoint(NET, 0) / MANIFEST
    write_json(manifest, json.loads(manifest.read_text()) | {"best_epoch": 9})
    with pytest.raises(ReleaseError, match=f"the ranks of {NET} are of another checkpoint"):
        write_release(settings, NET, out)
    write_parquet(storage.metrics, metrics.replace_schema_metadata({}))
    with pytest.raises(StaleResultsError):
        write_release(settings, "popularity", out)
    assert not out.exists()


def test_the_commands_and_their_exit_status(own: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, folder = own
    monkeypatch.setattr(verify_cli, "settings_of", lambda *_, **__: settings)  # the toy is no registered dataset
    runner = CliRunner(env={"COLUMNS": "200"})

    def said(*arguments: str) -> tuple[int, str]:
        result = runner.invoke(app, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.output

    code, text = said("release", str(tmp_path / "again"), "--model", NET)
    assert (code, "ndcg@10" in text) == (0, True)
    assert said("verify", str(tmp_path / "again"))[0] == 0
    assert said("verify", "--model", NET)[0] == 0
    assert said("verify")[0] == 2
    assert said("verify", str(folder), "--model", NET)[0] == 2
    code, text = said("verify", str(tmp_path))
    assert (code, RECORD in text) == (1, True)
    rewritten(folder, lambda record: record["headline"].update(value=0.9))
    assert said("verify", str(folder))[0] == Verdict.HEADLINE_DIFFERS
    settings.storage.table("items").unlink()
    assert said("verify", str(folder))[0] == Verdict.DATA_DIFFERS
    (folder / CHECKPOINT / MANIFEST).unlink()
    code, text = said("verify", str(folder))
    assert (code, "not verified: files differ" in text) == (Verdict.FILES_DIFFER, True)


def test_the_records_dataset_need_not_be_known_here(own: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its tables are asked for; where there are none, the exit status says so, and the message why."""
    settings, folder = own
    monkeypatch.setenv("THAW_HOME", str(settings.home))
    monkeypatch.setenv("THAW_DATASET", "simulated")  # the command exports the record's
    runner = CliRunner(env={"COLUMNS": "400"})
    result = runner.invoke(app, ["verify", str(folder)])
    assert (result.exit_code, "verified" in result.output) == (Verdict.SAME, True), result.output
    rewritten(folder, lambda record: record["data"].update(dataset="nowhere"))
    result = runner.invoke(app, ["verify", str(folder)])
    assert result.exit_code == Verdict.DATA_DIFFERS, result.output
    assert "no tables to judge it on" in result.output
    assert f"data.dataset of {folder / RECORD}: unknown dataset 'nowhere'" in result.output
    assert runner.invoke(app, ["verify", str(folder), "--dataset", "nowhere"]).exit_code == 2
    (folder / CHECKPOINT / MANIFEST).unlink()
    assert runner.invoke(app, ["verify", str(folder)]).exit_code == Verdict.FILES_DIFFER
