"""YahooCQA out of a copy of one's own."""

import hashlib
import json
from pathlib import Path

import pytest

from trainers import cqa, recipes
from trainers.errors import BadInput
from trainers.options import CorpusOptions

LINES = "why so\tbecause\t1\nwhy so\tno idea\t0\nwhy so\tat  home\t0\nwho ?\tme\t0\nwho ?\tyou\t1\nhow\tslowly\t1\n"


def copy(folder: Path, text: str = LINES) -> Path:
    folder.mkdir()
    for name in ("train.tsv", "dev.txt", "test.tsv"):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_right_pairs_are_sentences_and_questions_have_their_right_answer_first(tmp_path: Path) -> None:
    found = recipes.make("yahoo-cqa", copy(tmp_path / "own"), tmp_path / "out", CorpusOptions())
    assert (tmp_path / "out" / "valid.txt").read_text() == "why so ? because\nwho ? you\nhow ? slowly\n"
    questions = (tmp_path / "out" / "test.questions").read_text().splitlines()
    assert questions == ["why so ?\tbecause\tno idea\tat home", "who ?\tyou\tme"]  # one answer leaves no choice
    made = {"sentences": 3, "tokens": 10, "types": 8, "pairs": 6, "questions": 2}
    for split in ("train", "valid", "test"):
        text = (tmp_path / "out" / f"{split}.txt").read_bytes()
        assert found["splits"][split] == {**made, "sha256": hashlib.sha256(text).hexdigest()}  # type: ignore[index]
    assert "train: 6 pairs, where LV has 253,000" in str(found["differs"])
    json.dumps(found)
    with pytest.raises(BadInput, match="is there already"):
        recipes.make("yahoo-cqa", tmp_path / "own", tmp_path / "out", CorpusOptions())


def test_a_second_right_answer_is_no_wrong_choice(tmp_path: Path) -> None:
    lines = "how old\tten\t1\nhow old\tblue\t0\nhow old\tabout ten\t1\n"
    found = cqa.make(copy(tmp_path / "own", lines), tmp_path / "out")
    questions = (tmp_path / "out" / "test.questions").read_text().splitlines()
    assert questions == ["how old ?\tten\tblue", "how old ?\tabout ten\tblue"]
    assert found["splits"]["test"]["questions"] == 2  # type: ignore[index]


def test_numbers_are_compared_as_they_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cqa, "PRINTED", {"train": (10, 10), "valid": (10, 10), "test": (20, 10)})
    monkeypatch.setattr(cqa, "TYPES", 13)
    found = cqa.make(copy(tmp_path / "own"), tmp_path / "out")
    assert found["same"] == ["train: 6 pairs", "valid: 6 pairs", "13 types"]
    assert found["differs"] == ["test: 6 pairs, where LV has 20"]


def test_a_line_ends_at_a_line_feed_and_a_question_mark_is_a_word(tmp_path: Path) -> None:
    lines = "why is it?\tit\u2028is\x0cso\t1\nwhy is it ?\tno\x85idea\t0\n?\tyes\t1\r\n"
    cqa.make(copy(tmp_path / "own", lines), tmp_path / "out")
    assert (tmp_path / "out" / "train.txt").read_text() == "why is it ? it is so\n? yes\n"
    assert (tmp_path / "out" / "train.questions").read_text() == "why is it ?\tit is so\tno idea\n"


@pytest.mark.parametrize("line", ["why\tso", "a\tb\tc", "a\tb\t1\td"])
def test_another_form_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"train.tsv line 7: .* is no question, answer and 1 or 0, divided by tabs"):
        cqa.make(copy(tmp_path / "own", f"{LINES}{line}\n"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "none").mkdir()
    with pytest.raises(BadInput, match="has no train.tsv"):
        cqa.make(tmp_path / "none", tmp_path / "out")
