"""Front matter and parameters of any content: read in the form that they should have, or refused in a sentence."""

import copy
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blog.cli.execution import BlogError, chosen_parameters
from blog.site.notebooks import find_post, front_matter, posts
from blog.site.pages import read_site

FORMS = {
    "title": str,
    "subtitle": str,
    "series": str,
    "description": str,
    "image": str,
    "date": date,
    "draft": bool,
    "author": list,
    "categories": list,
    "aliases": list,
    "formerly": list,
    "presets": dict,
}
ALWAYS = {"draft", "author", "categories", "aliases", "formerly", "presets"}
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
VALUES = st.recursive(
    PLAIN, lambda one: st.lists(one, max_size=3) | st.dictionaries(PLAIN, one, max_size=3), max_leaves=5
)
bounded = settings(
    max_examples=200, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def check(text: str) -> None:
    try:
        fields = front_matter(f"---\n{text}\n---", "post.ipynb", needed=())
    except ValueError as error:
        assert str(error).startswith("post.ipynb: ") and "\n" not in str(error)
        return
    assert ALWAYS <= fields.keys()
    for name in FORMS.keys() & fields.keys():
        assert type(fields[name]) is FORMS[name], name
        inside = (
            [*fields[name], *(fields[name].values() if name == "presets" else ())] if name in ALWAYS - {"draft"} else []
        )
        assert all(type(one) is str for one in inside), name


@bounded
@given(st.dictionaries(st.sampled_from([*FORMS, "other"]), VALUES))
def test_fields_of_any_value(fields):
    check(yaml.safe_dump(fields, allow_unicode=True))


@bounded
@given(st.text() | st.text("-:[]{}!&*?|>%@`'\"#, \nab1"))
def test_any_text_as_front_matter(text):
    check(text)


@pytest.fixture(scope="module")
def post(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkout")
    (root / "nbs").mkdir()
    front = {"cell_type": "raw", "source": "---\ntitle: A\npresets: {smoke: 1 s}\n---"}
    parameters = {"cell_type": "code", "source": "seeds = 1", "metadata": {"tags": ["parameters"]}}
    (root / "nbs/post.ipynb").write_text(json.dumps({"cells": [front, parameters]}))
    assert posts(root)[1:] == ([], [])
    return find_post(root, "post")


@bounded
@given(
    st.text() | st.text("{}[]\"':,.- 1ea") | VALUES.map(lambda value: yaml.safe_dump(value, default_flow_style=True))
)
def test_any_value_of_a_parameter(post, text):
    try:
        assert chosen_parameters(post, "smoke", [f"seeds={text}"]).keys() == {"seeds"}
    except BlogError as error:
        assert str(error).startswith("-p ")


def places(node: object, way: tuple = ()) -> Iterator[tuple]:
    "The way to each value in lists and mappings."
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield (*way, key)
        yield from places(node[key], (*way, key))


def texts(site: object) -> bool:
    "Whether nothing but text is in the site's settings."
    return all(map(texts, site)) if isinstance(site, tuple) else isinstance(site, str)


@pytest.mark.parametrize("value", [None, 3, True, "", "x", [], [1], [[1]], {}, {"a": 1}, [{"a": 1}]], ids=repr)
def test_every_entry_of_the_site_is_read_or_named(tmp_path, value):
    given = yaml.safe_load((Path(__file__).parents[2] / "_quarto.yml").read_text(encoding="utf-8"))
    given = {name: given[name] for name in ("website", "bibliography")}
    given["website"]["sidebar"] = given["website"]["sidebar"][:1]
    ways = [*places(given)]
    assert len(ways) > 40
    for way in ways:
        changed = copy.deepcopy(given)
        inside = changed
        for key in way[:-1]:
            inside = inside[key]
        inside[way[-1]] = value
        (tmp_path / "_quarto.yml").write_text(yaml.safe_dump(changed))
        try:
            assert texts(read_site(tmp_path)), way
        except ValueError as error:
            assert str(error).startswith("_quarto.yml: website") or way == ("bibliography",), (way, str(error))


@pytest.mark.parametrize(
    "text", [b"\xff", b"[", b"[" * 10_000, b"a: b: c", b"- a", b"a: !!python/object:os.system x", b"\0"]
)
def test_settings_of_the_site_that_are_no_yaml(tmp_path, text):
    (tmp_path / "_quarto.yml").write_bytes(text)
    with pytest.raises(ValueError, match=r"^_quarto\.yml[^\n]*$"):
        read_site(tmp_path)
