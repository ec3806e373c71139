"The package `wn` as a source of nouns: a lexicon of a few words, added to a database of its own."

import pytest

from blog.shortcuts.replacement import hypernym_path, hypernyms, installed_wordnet, replace_words

wn = pytest.importorskip("wn", reason='wn is not installed: pip install -e ".[shortcuts]"')

KINDS = {"being": [], "bird": ["being"], "waterbird": ["bird"], "goose": ["waterbird"], "simpleton": ["being"]}
ENTRIES = {"being": ["being"], "bird": ["bird"], "waterbird": ["waterbird"], "goose": ["goose", "simpleton"]}


def lexicon() -> str:
    "An LMF file: geese are waterbirds first and simpletons second."
    entries = "".join(
        f'<LexicalEntry id="t-{noun}"><Lemma writtenForm="{noun}" partOfSpeech="n"/>'
        + ('<Form writtenForm="geese"/>' if noun == "goose" else "")
        + "".join(f'<Sense id="t-{noun}-{synset}" synset="t-{synset}-n"/>' for synset in synsets)
        + "</LexicalEntry>"
        for noun, synsets in ENTRIES.items()
    )
    synsets = "".join(
        f'<Synset id="t-{name}-n" ili="" partOfSpeech="n">'
        + "".join(f'<SynsetRelation relType="hypernym" target="t-{kind}-n"/>' for kind in kinds)
        + "</Synset>"
        for name, kinds in KINDS.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<!DOCTYPE LexicalResource SYSTEM "http://globalwordnet.github.io/schemas/WN-LMF-1.0.dtd">\n'
        '<LexicalResource xmlns:dc="https://globalwordnet.github.io/schemas/dc/">'
        '<Lexicon id="t" label="t" language="en" email="nobody@example.org" license="CC0" version="1">'
        f"{entries}{synsets}</Lexicon></LexicalResource>"
    )


@pytest.fixture
def installed(tmp_path, monkeypatch):
    monkeypatch.setattr(wn.config, "data_directory", tmp_path / "wn")
    (tmp_path / "t.xml").write_text(lexicon(), encoding="utf-8")
    wn.add(tmp_path / "t.xml", progress_handler=None)


def test_nouns_and_all_above_them_are_those_of_the_lexicon(installed):
    taxonomy = installed_wordnet(["Geese", "birds", "walks"], "t:1")
    assert set(taxonomy.senses) == {"goose", "bird"}
    assert taxonomy.senses["goose"] == ["t-goose-n", "t-simpleton-n"]
    assert taxonomy.irregular == {"geese": "goose"}
    assert hypernym_path("geese", taxonomy) == ["waterbird", "bird", "being"]
    assert replace_words(["Two geese"], hypernyms(["goose"], taxonomy, 1), taxonomy).texts == ["Two waterbirds"]


def test_what_is_not_installed_or_no_noun_is_said_in_one_sentence(installed):
    with pytest.raises(ValueError, match=r"wn has no lexicon 'omw-en:1.4': python -m wn download omw-en:1.4"):
        installed_wordnet(["goose"])
    with pytest.raises(ValueError, match="none of the words is a noun of t:1"):
        installed_wordnet(["walks"], "t:1")
