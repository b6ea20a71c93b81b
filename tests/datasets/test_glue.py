"""GLUE's files as tokens."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from analognets.datasets.glue import load_glue, read_glue
from analognets.errors import DataError, InvalidArgumentError, MissingExtraError

HEAD = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "MRPC").mkdir()
    (tmp_path / "SST-2").mkdir()
    for part, count in (("train", 5), ("dev", 2)):
        pairs = "".join(f'{k % 2}\t1\t2\tHe said " a {k} .\tShe {k} , too\r\n' for k in range(count))
        (tmp_path / "MRPC" / f"{part}.tsv").write_text(HEAD + pairs, "utf-8")
        lines = "".join(f"it 's {k} \t{k % 2}\n" for k in range(count))
        (tmp_path / "SST-2" / f"{part}.tsv").write_text("sentence\tlabel\n" + lines, "utf-8")
    return tmp_path


def test_sentences_and_pairs_are_read_as_the_files_have_them(folder: Path) -> None:
    texts, labels = read_glue("mrpc", "train", folder)
    assert texts[0] == ('He said " a 0 .', "She 0 , too")
    assert labels.tolist() == [0, 1, 0, 1, 0]
    assert read_glue("sst2", "dev", folder)[0] == [("it 's 0",), ("it 's 1",)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"must have the columns sentence, label\. Received"),
        ("sentence\tlabel\n", "at least one sample. Received: none"),
        ("sentence\tlabel\nit\t2\n", r"Line 2 of .* label 0 or 1\. Received: it"),
        ("sentence\tlabel\nit\n", r"Line 2 of .* 2 columns"),
    ],
)
def test_other_files_are_refused_in_one_sentence(folder: Path, text: str, message: str) -> None:
    (folder / "SST-2" / "dev.tsv").write_text(text, "utf-8")
    with pytest.raises(DataError, match=message):
        read_glue("sst2", "dev", folder)


def test_tokens_are_padded_cut_and_split_by_the_seed(folder: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = {name: k for k, name in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "it", "'s", *map(str, range(5))])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    made.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", ends)
    made.save(str(folder / "tokenizer.json"))
    data = load_glue("sst2", folder, folder / "tokenizer.json", length=8, validation=2, seed=1)
    assert data.dev.tokens.tolist() == [[2, 4, 5, 6, 3, 0, 0, 0], [2, 4, 5, 7, 3, 0, 0, 0]]
    assert (len(data.train.labels), len(data.validation.labels), data.cut) == (3, 2, 0.0)
    kept = np.concatenate([data.train.tokens, data.validation.tokens])
    assert sorted(kept[:, 3].tolist()) == [6, 7, 8, 9, 10]
    assert load_glue("mrpc", folder, folder / "tokenizer.json", length=8, validation=2).cut == 1.0
    with pytest.raises(DataError, match="must be a tokenizer.json"):
        load_glue("sst2", folder, folder / "SST-2" / "dev.tsv", validation=2)
    other = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "[PAD]": 1}, unk_token="[UNK]"))
    other.save(str(folder / "other.json"))
    with pytest.raises(DataError, match=r"must have \[PAD\] as token 0, .*Received: 1"):
        load_glue("sst2", folder, folder / "other.json", validation=2)
    with pytest.raises(InvalidArgumentError, match="validation"):
        load_glue("sst2", folder, folder / "tokenizer.json", validation=5)


def test_without_the_package_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"analognets\[text\]"):
        load_glue("sst2", folder, folder / "tokenizer.json")
