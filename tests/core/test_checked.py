"""Checked data: one sentence a wrong key, in the error and the words of the caller."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field

from analognets.core.checked import Section, check, checking_file
from analognets.errors import ChipFileError, InvalidArgumentError, RecipeError


class Oven(Section):
    degrees: Annotated[float, Field(ge=0, le=300)] = 180.0
    fan: bool = False


class Cake(Section):
    name: str
    oven: Oven = Oven()
    eggs: list[Annotated[int, Field(gt=0)]] = []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"nam": "a"},
            r"`name` is missing; it must be text\.\nUnknown key 'nam'\. Did you mean 'name'\? Known keys of an",
        ),
        ({"name": "a", "oven": {"degree": 1.0}}, r"Did you mean 'oven.degrees'\? Known keys of `oven`: degrees, fan\."),
        ({"name": "a", "fan": True}, r"Did you mean 'oven.fan'\? Known keys of an almond cake: name, oven, eggs\."),
        ({"name": "a", "oven": {"degrees": 301.0}}, r"`oven.degrees` must be a number from 0 to 300\. Received: 301"),
        ({"name": "a", "oven": {"a.b": 1}}, r"Unknown key 'oven\.a\.b'\. .*Known keys of `oven`: degrees, fan\."),
        ({"name": "a", "x.y.z": 1}, r"Unknown key 'x\.y\.z'\. Known keys of an almond cake: name, oven, eggs\."),
        ("flour", "it must be a mapping of keys such as name, oven, eggs"),
    ],
)
@pytest.mark.parametrize("error", [RecipeError, InvalidArgumentError])
def test_what_a_person_wrote(data: object, message: str, error: type[RecipeError]) -> None:
    with pytest.raises(error, match=rf"^My cake is not valid: .*{message}"):
        check(Cake, data, "almond cake", source="My cake", error=error)


def test_good_data_become_an_object() -> None:
    cake = check(Cake, {"name": "a", "oven": {"fan": True}}, "cake", source="My cake", error=RecipeError)
    assert cake == Cake(name="a", oven=Oven(fan=True))


def test_what_a_program_wrote() -> None:
    pattern = (
        r"^'cake.json' is broken: `eggs.1`: Input should be greater than 0\. Received: 0\. 1 more .*too\. Bake it\.$"
    )
    with (
        pytest.raises(ChipFileError, match=pattern),
        checking_file("'cake.json' is broken", ChipFileError, "Bake it."),
    ):
        Cake.model_validate_json('{"name": "a", "eggs": [1, 0, -1]}')
