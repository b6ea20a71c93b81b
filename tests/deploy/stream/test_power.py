"""Mean power of listening: the law, and its limits."""

from __future__ import annotations

import pytest

import analognets as an
from analognets.deploy.stream.power import duty_cycle
from analognets.errors import InvalidArgumentError


def test_energy_times_rate_and_what_is_left_between() -> None:
    cost = an.deploy.cost(an.zoo.analognet_kws((49, 10, 1), classes=12), "aon_cim", bits=8)
    found = duty_cycle(cost, 10)
    assert found.power_uw == pytest.approx(10 * cost.energy_uj)
    assert found.duty == pytest.approx(10 / cost.inferences_per_second)
    assert found.power_ungated_uw == pytest.approx(10 * cost.energy_uj + (1 - found.duty) * 6151.5)
    assert duty_cycle(cost, 10, idle_uw=20).power_uw == pytest.approx(found.power_uw + 20 * (1 - found.duty))
    busy = duty_cycle(cost, cost.inferences_per_second, idle_uw=20)
    assert busy.power_uw == pytest.approx(1e3 * cost.power_mw)
    assert busy.power_ungated_uw == pytest.approx(busy.power_uw)
    assert found.to_dict()["not_counted"] in str(found)
    with pytest.raises(InvalidArgumentError, match=r"aon_cim does 7,\d+ inferences a second.*Received: 8,000"):
        duty_cycle(cost, 8000)
    with pytest.raises(InvalidArgumentError, match="`idle_uw` of duty_cycle"):
        duty_cycle(cost, 10, idle_uw=-1)
