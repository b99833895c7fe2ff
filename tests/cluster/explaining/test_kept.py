from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.explaining.kept import Reason, summarised


def test_reasons_that_differ_in_numbers_become_one_with_their_range():
    texts = ["scale 30.5 to 58: at 64", "scale 28 to 51: at 64", "scale 40 to 1.2e+03: at 64"]
    assert summarised(texts) == [Reason("scale 28 to 1.2e+03: at 64", 3)]


def test_a_single_number_that_varies_becomes_a_range():
    assert summarised(["above 4", "above 2.5"]) == [Reason("above 2.5 to 4", 2)]


def test_the_most_frequent_reason_comes_first():
    texts = ["missing", "above 1", "above 1"]
    assert summarised(texts) == [Reason("above 1", 2), Reason("missing", 1)]


def test_numbers_within_words_are_part_of_the_word():
    assert summarised(["top2 of v1.5x", "top3 of v1.5x"]) == [
        Reason("top2 of v1.5x", 1),
        Reason("top3 of v1.5x", 1),
    ]


def test_what_looks_like_a_placeholder_is_text():
    assert len(summarised(["a # b", "a 1 b", "a \0 b"])) == 3


def test_nothing_has_no_reasons():
    assert summarised([]) == []


@given(st.lists(st.text("a1.-e2 to:", max_size=12), max_size=8))
def test_every_text_is_counted_once(texts):
    assert sum(reason.count for reason in summarised(texts)) == len(texts)


@settings(max_examples=30)
@given(st.text("1.-e+ to,:x", max_size=30))
def test_a_reason_that_came_once_is_told_as_it_is(text):
    assert [reason.text for reason in summarised([text])] == [text]
