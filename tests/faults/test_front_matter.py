"""Front matter and parameters of any content: read in the form that they should have, or refused in a sentence."""

import json
from datetime import date

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blog.cli.execution import BlogError, chosen_parameters
from blog.site.notebooks import find_post, front_matter, posts

FORMS = {
    "title": str,
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
