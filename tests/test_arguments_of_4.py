"""The script that reads arguments from sources finds of the installed version what Python finds by importing it."""

import inspect
import json
import sys

import pytest
from arguments_of_4 import SOURCES, TARGET, VERSIONS, arguments_of
from transformers import Trainer, TrainingArguments


@pytest.mark.parametrize("cls", [TrainingArguments, Trainer])
def test_names_and_defaults_are_those_of_the_signature(cls):
    found = arguments_of(inspect.getsource(sys.modules[cls.__module__]), cls.__name__)
    signature = {name: part.default for name, part in inspect.signature(cls).parameters.items()}
    assert list(found) == list(signature)
    literal = {name: repr(signature[name]) for name, default in found.items() if default is not None}
    assert {name: found[name] for name in literal} == literal and len(literal) > len(signature) - 4


def test_old_names_that_a_decorator_takes():
    source = "class Trainer:\n @deprecate_kwarg('old', new_name='new')\n def __init__(self, model, new=1): ..."
    assert arguments_of(source, "Trainer") == {"model": None, "new": "1", "old": None}


def test_the_stored_data_is_of_these_versions():
    stored = json.loads(TARGET.read_text(encoding="utf-8"))
    assert stored["versions"] == VERSIONS and {*stored} == {"versions", *SOURCES}
    assert all(last in VERSIONS for name in SOURCES for last, _ in stored[name].values())
