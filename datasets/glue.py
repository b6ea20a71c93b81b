"""Two tasks of GLUE as arrays of tokens: the sentiment of sentences (SST-2) and paraphrases (MRPC)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analognets.core.files import read_plain
from analognets.errors import DataError, MissingExtraError, check_choice, check_integer, cut

__all__ = ["GLUE_TASKS", "GlueData", "GlueTask", "Sentences", "load_glue", "read_glue"]

PADDING = 0


@dataclasses.dataclass(frozen=True)
class GlueTask:
    """Where a task's files are, and what their columns hold.

    Args:
        folder: inside the data folder, as the official archives name it.
        texts: columns of the one or two sentences.
        label: column of the class.
        classes: in the order of the labels.
        length: tokens that hold almost all samples.
        validation: training samples held out.
    """

    folder: str
    texts: tuple[str, ...]
    label: str
    classes: tuple[str, ...]
    length: int
    validation: int


GLUE_TASKS = {
    "sst2": GlueTask("SST-2", ("sentence",), "label", ("negative", "positive"), 64, 1500),
    "mrpc": GlueTask("MRPC", ("#1 String", "#2 String"), "Quality", ("different", "paraphrase"), 128, 368),
}


class Sentences(NamedTuple):
    """Samples of a part of the data: tokens (samples, length) and labels (samples,), whole numbers."""

    tokens: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class GlueData:
    """A task's samples as tokens.

    Args:
        train: training samples.
        validation: held out from the official training file.
        dev: the official dev file; the official test labels are not public.
        cut: share of the samples that are longer than the arrays and lost their end.
    """

    train: Sentences
    validation: Sentences
    dev: Sentences
    cut: float


def read_glue(task: str, part: str, data_dir: str | Path) -> tuple[list[tuple[str, ...]], np.ndarray]:
    """Read a `.tsv` file of GLUE.

    Args:
        task: "sst2" or "mrpc".
        part: "train" or "dev".
        data_dir: folder that holds SST-2/ and MRPC/.

    Returns:
        The one or two sentences of every sample, and the labels.

    Raises:
        DataError: the file is missing, lacks a column, or holds a line or label of another kind.
    """
    check_choice("read_glue", "task", task, tuple(GLUE_TASKS))
    facts = GLUE_TASKS[task]
    path = Path(data_dir) / facts.folder / f"{part}.tsv"
    content = read_plain(path, "GLUE file", error=DataError, hint="Get the official archive from gluebenchmark.com.")
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as problem:
        raise DataError(f"'{path}' must be UTF-8 text. Received: {problem}.") from None
    header = lines[0].rstrip("\r").split("\t")
    missing = [name for name in (*facts.texts, facts.label) if name not in header]
    if missing:
        raise DataError(f"'{path}' must have the columns {', '.join(missing)}. Received: {cut(lines[0], 200)}.")
    columns, label = [header.index(name) for name in facts.texts], header.index(facts.label)
    texts, labels = [], []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        cells = line.rstrip("\r").split("\t")
        if len(cells) != len(header) or cells[label] not in ("0", "1"):
            raise DataError(
                f"Line {number} of '{path}' must have {len(header)} columns and the label 0 or 1. "
                f"Received: {cut(line, 200)}."
            )
        texts.append(tuple(cells[column].strip() for column in columns))
        labels.append(int(cells[label]))
    if not texts:
        raise DataError(f"'{path}' must hold at least one sample. Received: none.")
    return texts, np.array(labels, np.int32)


def load_glue(
    task: str,
    data_dir: str | Path,
    tokenizer: str | Path,
    *,
    length: int | None = None,
    validation: int | None = None,
    seed: int = 0,
) -> GlueData:
    """Return a task of GLUE as arrays of tokens; pairs of sentences are joined as BERT has them.

    A sample is [CLS] sentence [SEP], or [CLS] sentence [SEP] sentence [SEP], then padding with token 0. The training
    file of SST-2 holds phrases of the same sentences, so the held-out part is not quite independent of the rest.

    Args:
        task: "sst2" or "mrpc".
        data_dir: folder that holds SST-2/ and MRPC/.
        tokenizer: file `tokenizer.json` of the network's tokenizer, for the package `tokenizers`.
        length: tokens of a sample, at least 8; longer ones lose their end. None: 64 for SST-2, 128 for MRPC.
        validation: how many training samples are held out, drawn by `seed`; None: 1500 of SST-2, 368 of MRPC.
        seed: >= 0.

    Raises:
        DataError: a file is missing or of another kind.
        InvalidArgumentError: a number is out of range.
        MissingExtraError: the package `tokenizers` is not installed.
    """
    facts = GLUE_TASKS[check_choice("load_glue", "task", task, tuple(GLUE_TASKS))]
    length = check_integer("load_glue", "length", facts.length if length is None else length, 8, 512)
    encode = _encoder(Path(tokenizer), length)
    texts, labels = read_glue(task, "train", data_dir)
    held = facts.validation if validation is None else validation
    held = check_integer("load_glue", "validation", held, 1, len(labels) - 1)
    tokens, cut_train = encode(texts)
    order = np.random.default_rng(check_integer("load_glue", "seed", seed, 0, 2**31 - 1)).permutation(len(labels))
    kept, out = np.sort(order[held:]), np.sort(order[:held])
    dev, dev_labels = read_glue(task, "dev", data_dir)
    dev_tokens, cut_dev = encode(dev)
    return GlueData(
        Sentences(tokens[kept], labels[kept]),
        Sentences(tokens[out], labels[out]),
        Sentences(dev_tokens, dev_labels),
        (cut_train + cut_dev) / (len(labels) + len(dev_labels)),
    )


def _encoder(path: Path, length: int) -> Any:
    """Return the function that turns sentences, or pairs, into tokens and counts those that are cut."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtraError("Splitting sentences into tokens", "text") from None
    content = read_plain(path, "tokenizer file", error=DataError)
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as problem:  # the package raises plain Exception
        raise DataError(f"'{path}' must be a tokenizer.json of the package tokenizers. Received: {problem}.") from None
    if tokenizer.token_to_id("[PAD]") != PADDING:
        raise DataError(
            f"'{path}' must have [PAD] as token {PADDING}, as BERT's tokenizers do. Received: "
            f"{tokenizer.token_to_id('[PAD]')}. Take the tokenizer that the network was trained with."
        )
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)

    def encode(texts: list[tuple[str, ...]]) -> tuple[np.ndarray, int]:
        found = tokenizer.encode_batch([one[0] if len(one) == 1 else one for one in texts])
        tokens = np.full((len(found), length), PADDING, np.int32)
        for row, one in zip(tokens, found, strict=True):
            row[: len(one.ids)] = one.ids
        return tokens, sum(bool(one.overflowing) for one in found)

    return encode
