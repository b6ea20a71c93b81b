"""The residual, recurrent and attention spotters: shapes, sizes, files, and what of them goes on a crossbar."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog
from analognets.zoo.networks.kws_models import gru_kws, keyword_transformer, lstm_kws, resnet8_kws, resnet15_kws
from analognets.zoo.tasks import MODELS, find_recipe, list_recipes

FEATURES = np.random.default_rng(0).normal(size=(3, 49, 10, 1)).astype("float32")
# network, weights of its products, layers on the crossbar
NETWORKS = {
    "resnet8_kws": (resnet8_kws, 360 + 2 * 5_184 + 6_912 + 9_216 + 768 + 13_824 + 20_736 + 1_536 + 576, 10),
    "resnet15_kws": (
        resnet15_kws,
        360 + 4 * 5_184 + 6_912 + 3 * 9_216 + 768 + 13_824 + 3 * 20_736 + 1_536 + 576,
        16,
    ),
    "gru_kws": (gru_kws, 3 * 154 * (10 + 154) + 154 * 12, 3),
    "lstm_kws": (lstm_kws, 4 * 128 * (10 + 128) + 128 * 12, 3),
    "keyword_transformer": (keyword_transformer, 640 + 3 * (4 * 64 * 64 + 2 * 64 * 128) + 64 * 12, 1 + 3 * 6 + 1),
}


@pytest.fixture(scope="module", params=NETWORKS)
def spotter(request: pytest.FixtureRequest) -> tuple[keras.Model, int, int]:
    network, weights, layers = NETWORKS[request.param]
    keras.utils.set_random_seed(0)
    return network(), weights, layers


def test_all_products_go_on_the_crossbar_with_the_published_sizes(spotter: tuple[keras.Model, int, int]) -> None:
    model, weights, layers = spotter
    assert model.output_shape == (None, 12)
    analog = to_analog(model, "aimc_standard")
    converted = analog.conversion_report.converted
    assert (sum(layer.kernel for layer in converted), len(converted)) == (weights, layers)
    np.testing.assert_allclose(analog(FEATURES), model(FEATURES), atol=1e-4)


def test_files_keep_them(spotter: tuple[keras.Model, int, int], tmp_path: Path) -> None:
    model, _, _ = spotter
    model.save(tmp_path / "spotter.keras")
    again = keras.models.load_model(tmp_path / "spotter.keras")
    np.testing.assert_array_equal(again(FEATURES), model(FEATURES))


@pytest.mark.parametrize("name", [name for name in list_recipes() if name.startswith("kws_")])
def test_recipes_name_networks_that_exist(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.model.name in MODELS
    assert (recipe.hardware_aware is None) == (recipe.on_device is not None)
