"""Words, nouns and lines in any script and Unicode form: whatever a text holds, nothing is cut inside a character that
readers see, and nothing is lost."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blog.prompt_internalization.alignment import fold, split_words, whole_words, words
from blog.prompt_internalization.describing import NounNotFound, find_noun
from blog.prompt_internalization.nouns import lexicon_finder
from blog.prompt_internalization.word_in_context import load_mcl_wic, load_wic

SCRIPTS = {  # letters, and marks that follow them
    "Latin": ("aeinoszñçßıŁ", "\u0301\u0308\u0327\u0331"),
    "Greek": ("αεςσωΣ", "\u0301\u0313\u0345"),
    "Cyrillic": ("аийяЁ", "\u0301\u0306"),
    "Devanagari": ("कखतमश", "ािीेों़्\u0901"),
    "Bengali": ("কবরয", "ািেো্\u09be"),
    "Tamil": ("கபரந", "ாெொோ்"),
    "Malayalam": ("കമല", "ാെോൗ്"),
    "Arabic": ("بتكابةى", "\u064b\u064e\u0650\u0651\u0652\u0670"),
    "Hebrew": ("אבספר", "\u05b0\u05b5\u05b6\u05bc\u05c1"),
    "Thai": ("กขงนแ", "\u0e31\u0e34\u0e49\u0e4c"),
    "Korean": ("한국어바다", ""),
    "Cyrillic with digits": ("ж1２٣", "\u20dd"),
}
SEPARATORS = (
    " ",
    ", ",
    ". ",
    "! ",
    " — ",
    "\u00a0",
    "\u2028",
    "\u0085",
    "\x0b",
    "\x1c",
    " (",
    ") ",
    "।",
    "، ",
    "؟ ",
    "🙂",
)
FORMS = ("NFC", "NFD")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("lines")


def word(letters: str, marks: str) -> st.SearchStrategy[str]:
    seen = st.tuples(st.sampled_from(letters), st.text(marks, max_size=2) if marks else st.just(""))
    return st.lists(seen, min_size=1, max_size=4).map(lambda parts: "".join(map("".join, parts)))


WORD = st.one_of([word(*script) for script in SCRIPTS.values()])
TEXT = st.lists(st.tuples(WORD, st.sampled_from(SEPARATORS)), min_size=1, max_size=6)
ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n"), max_size=30).map(
    lambda line: line.rstrip("\r")
)
quick = settings(max_examples=150, derandomize=True, deadline=None, database=None)


def is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


@quick
@given(ANYTHING)
def test_words_of_any_text_keep_their_marks_and_lose_no_letter(text):
    last = 0
    for start, end in words(text):
        assert last <= start < end and not is_mark(text[start])
        assert not any(unicodedata.category(c)[0] in "LN" for c in text[last:start])
        assert end == len(text) or not is_mark(text[end])
        last = end
    assert not any(unicodedata.category(c)[0] in "LN" for c in text[last:])


@quick
@given(TEXT)
def test_words_of_a_text_are_those_that_it_was_made_of(pieces):
    for form in FORMS:
        text = unicodedata.normalize(form, "".join(map("".join, pieces)))
        assert split_words(text) == [unicodedata.normalize(form, noun) for noun, _ in pieces]


@quick
@given(ANYTHING)
def test_fold_is_the_same_for_all_forms_of_a_text(text):
    folded = fold(text)
    assert {fold(unicodedata.normalize(form, text)) for form in FORMS} == {folded}
    assert fold(folded) == folded


@quick
@given(TEXT, st.data(), st.sampled_from(FORMS), st.sampled_from(FORMS))
def test_a_noun_is_found_wherever_it_is_a_word_and_nowhere_else(pieces, data, form, other):
    noun = data.draw(st.sampled_from([noun for noun, _ in pieces]))
    text = unicodedata.normalize(form, "".join(map("".join, pieces)))
    asked = unicodedata.normalize(other, noun)
    exact = [
        span
        for span in words(text)
        if unicodedata.normalize("NFC", text[slice(*span)]) == unicodedata.normalize("NFC", noun)
    ]
    assert exact
    assert [find_noun(text, asked, n)[1:] for n in range(len(exact))] == exact
    with pytest.raises(NounNotFound, match="index"):
        find_noun(text, asked, len(exact))
    found = lexicon_finder([asked])([text])[0]
    assert [span[1:] for span in found] == [span for span in words(text) if fold(text[slice(*span)]) == fold(noun)]


@quick
@given(WORD, WORD, st.sampled_from(FORMS))
def test_the_beginning_of_a_word_is_not_the_word(noun, rest, form):
    text = unicodedata.normalize(form, f"{noun}{rest}, {noun}")
    for asked in {unicodedata.normalize(form, noun)} - {unicodedata.normalize(form, noun + rest)}:
        assert [match.span() for match in whole_words(asked, text)] == [(len(text) - len(asked), len(text))]


@quick
@given(st.lists(st.tuples(LINE, LINE, st.booleans()), min_size=1, max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_lines_come_back_whatever_they_hold(folder, rows, end):
    data, gold = folder / "data.txt", folder / "gold.txt"
    lines = [f"lemma\tN\t0-0\tnoun {one}\tnoun {two}{end}" for one, two, _ in rows]
    data.write_bytes("".join(lines).encode())
    gold.write_bytes("".join(f"{'T' if same else 'F'}{end}" for *_, same in rows).encode())
    found = load_wic(data, gold)
    expected = [(f"noun {one}", f"noun {two}", int(same)) for one, two, same in rows]
    assert list(zip(found["sentence1"], found["sentence2"], found["label"], strict=True)) == expected


@quick
@given(st.binary(max_size=60))
def test_a_file_of_any_bytes_is_read_or_refused_by_name(folder, content):
    (folder / "bytes.txt").write_bytes(content)
    for read in (load_wic, load_mcl_wic):
        with pytest.raises(ValueError, match="bytes"):
            read(folder / "bytes.txt", folder / "bytes.txt")
