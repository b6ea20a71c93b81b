"""MiniLM: the encoder against a reference in NumPy, published weights by name, and what refuses a wrong file."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.special import erf

from analognets.conversion import to_analog
from analognets.errors import DataError, InvalidArgumentError
from analognets.zoo.networks.bert import SegmentEmbedding, albert_base, bert_tiny, minilm
from analognets.zoo.networks.bert_weights import load_bert_weights, place_bert_weights
from analognets.zoo.networks.kws_models import PositionEmbedding

SIZE, HEADS, DEPTH, WORDS, POSITIONS, END = 16, 4, 2, 40, 12, 3


def published(seed: int = 0) -> dict[str, np.ndarray]:
    """Return arrays as Hugging Face's BertModel names and lays them out."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (WORDS, SIZE),
        "embeddings.position_embeddings.weight": (POSITIONS, SIZE),
        "embeddings.token_type_embeddings.weight": (2, SIZE),
    }
    products, norms = {}, ["embeddings"]
    for number in range(DEPTH):
        own = f"encoder.layer.{number}"
        products |= {f"{own}.attention.self.{part}": (SIZE, SIZE) for part in ("query", "key", "value")}
        products |= {f"{own}.attention.output.dense": (SIZE, SIZE)}
        products |= {f"{own}.intermediate.dense": (4 * SIZE, SIZE), f"{own}.output.dense": (SIZE, 4 * SIZE)}
        norms += [f"{own}.attention.output", f"{own}.output"]
    shapes |= {f"{name}.weight": shape for name, shape in products.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in products.items()}
    shapes |= {f"{name}.LayerNorm.{part}": (SIZE,) for name in norms for part in ("weight", "bias")}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def reference(arrays: dict[str, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    """Return the vectors of one sequence without padding."""

    def product(x: np.ndarray, name: str) -> np.ndarray:
        return x @ arrays[f"{name}.weight"].astype(float).T + arrays[f"{name}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * arrays[f"{name}.LayerNorm.weight"] + arrays[f"{name}.LayerNorm.bias"]

    count, ends = len(tokens), tokens == END
    x = arrays["embeddings.word_embeddings.weight"][tokens].astype(float)
    x = x + arrays["embeddings.position_embeddings.weight"][:count]
    x = norm(x + arrays["embeddings.token_type_embeddings.weight"][np.minimum(np.cumsum(ends) - ends, 1)], "embeddings")
    for number in range(DEPTH):
        own = f"encoder.layer.{number}"
        parts = [product(x, f"{own}.attention.self.{part}") for part in ("query", "key", "value")]
        query, key, value = (part.reshape(count, HEADS, -1).transpose(1, 0, 2) for part in parts)
        scores = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(SIZE // HEADS))
        seen = (scores / scores.sum(-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(count, SIZE)
        x = norm(x + product(seen, f"{own}.attention.output.dense"), f"{own}.attention.output")
        inner = product(x, f"{own}.intermediate.dense")
        inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
        x = norm(x + product(inner, f"{own}.output.dense"), f"{own}.output")
    return x


def network(**options: int) -> keras.Model:
    sizes = {"vocabulary": WORDS, "dimension": SIZE, "depth": DEPTH, "heads": HEADS, "separator": END, **options}
    return minilm((10,), **sizes)


def test_the_encoder_equals_the_reference_with_published_weights_padding_and_pairs(tmp_path: Path) -> None:
    arrays = published()
    save_file(arrays, tmp_path / "model.safetensors")
    net = network()
    load_bert_weights(net, tmp_path / "model.safetensors")
    tokens = np.zeros((3, 10), np.int32)
    for row, length in zip(tokens, (10, 7, 5), strict=True):
        row[:length] = np.random.default_rng(length).integers(4, WORDS, length)
        row[length - 1] = END
    tokens[0, 4] = END  # a pair of sentences
    seen = keras.Model(net.input, net.get_layer("mean").output).predict(tokens, verbose=0)
    expected = [reference(arrays, row[row > 0]).mean(0) for row in tokens]
    np.testing.assert_allclose(seen, expected, atol=1e-4)
    other = network()
    place_bert_weights(other, {f"bert.{name}": values for name, values in arrays.items()})
    assert np.array_equal(other.get_layer("block_2_dense_1").kernel, net.get_layer("block_2_dense_1").kernel)


def test_networks_without_segments_take_all_for_the_first_sentence() -> None:
    arrays = published()
    pooler = {"pooler.dense.weight": np.eye(SIZE, dtype=np.float32), "pooler.dense.bias": np.zeros(SIZE, np.float32)}
    net = bert_tiny((6,), vocabulary=WORDS, dimension=SIZE, depth=DEPTH, heads=HEADS)
    place_bert_weights(net, arrays | pooler)
    tokens = np.array([[4, 5, 6, 7, 8, END]])
    seen = keras.Model(net.input, net.get_layer("pooler").output).predict(tokens, verbose=0)
    np.testing.assert_allclose(seen[0], np.tanh(reference(arrays, tokens[0])[0]), atol=1e-4)


def test_every_projection_is_converted_and_embeddings_stay_digital(tmp_path: Path) -> None:
    net = network()
    analog = to_analog(net, "aimc_standard")
    assert sum(entry.kernel for entry in analog.conversion_report.converted) == DEPTH * 12 * SIZE**2 + 2 * SIZE
    tokens = np.array([[4, 5, END, 6, 7, END, 0, 0, 0, 0]])
    np.testing.assert_allclose(analog.predict(tokens, verbose=0), net.predict(tokens, verbose=0), atol=1e-4)
    net.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(loaded.predict(tokens, verbose=0), net.predict(tokens, verbose=0))
    again = SegmentEmbedding.from_config(SegmentEmbedding(7, name="s").get_config())
    assert again.get_config() == SegmentEmbedding(7, name="s").get_config()


def test_sequences_of_any_length_equal_those_of_one_length(tmp_path: Path) -> None:
    arrays = published()
    sizes = {"vocabulary": WORDS, "dimension": SIZE, "depth": DEPTH, "heads": HEADS, "separator": END}
    net, fixed = minilm((None,), **sizes, positions=POSITIONS), network()
    for one in (net, fixed):
        place_bert_weights(one, arrays)
    net.get_layer("logits").set_weights(fixed.get_layer("logits").get_weights())
    tokens = np.array([[4, 5, END, 6, 7, END, 0, 0, 0, 0]])
    expected = fixed.predict(tokens, verbose=0)
    for length in (6, 8, 10):
        np.testing.assert_allclose(net.predict(tokens[:, :length], verbose=0), expected, atol=1e-6)
    analog = to_analog(net, "aimc_standard")
    np.testing.assert_allclose(analog.predict(tokens[:, :7], verbose=0), expected, atol=1e-4)
    net.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    assert loaded.get_layer("positions").get_config() == net.get_layer("positions").get_config()
    assert "most" not in fixed.get_layer("positions").get_config()
    with pytest.raises(InvalidArgumentError, match="`most`"):
        PositionEmbedding(0)
    with pytest.raises(InvalidArgumentError, match="at most 1 positions. Received: 3. Cut them"):
        PositionEmbedding(1)(np.zeros((2, 3, 4)))


def test_a_file_of_another_network_is_refused_and_nothing_is_filled(tmp_path: Path) -> None:
    net, arrays = network(), published()
    before = [np.array(value) for value in net.get_weights()]
    del arrays["encoder.layer.1.output.dense.weight"]
    with pytest.raises(DataError, match=r"holds no array 'encoder\.layer\.1\.output\.dense\.weight'.*Received: embed"):
        place_bert_weights(net, arrays)
    with pytest.raises(DataError, match=r"must have the shape \(41, 16\).*Received: \(40, 16\)"):
        place_bert_weights(network(vocabulary=41), published())
    name = "encoder.layer.1.intermediate.dense.weight"
    with pytest.raises(DataError, match=r"must have the shape \(64, 16\).*Received: \(16, 64\)"):
        place_bert_weights(net, published() | {name: published()[name].T})
    with pytest.raises(DataError, match="must hold 1 blocks for 'minilm'. Received: more"):
        place_bert_weights(network(depth=1), published())
    albert = albert_base((6,), vocabulary=WORDS, embedding=SIZE, dimension=SIZE, depth=DEPTH, heads=HEADS)
    with pytest.raises(InvalidArgumentError, match="must be a network as `minilm`.*Received: 'albert_base'"):
        place_bert_weights(albert, published())
    with pytest.raises(DataError, match="weights file"):
        load_bert_weights(net, tmp_path / "none.safetensors")
    assert all(np.array_equal(a, b) for a, b in zip(before, net.get_weights(), strict=True))
