"""An answer that is taken back is not the answer."""

from __future__ import annotations

import pytest
from aps_eval.corrections import corrected
from aps_eval.extraction import extract

CHOICES = {"letters": ["A", "B"], "words": ["cat", "dog"]}
TABLE = r"""
number|The answer is 5. Wait, no, it is 6.|6
number|5. Actually, 6|6
number|5. Actually, it is 6.|6
number|5. Correction: 6|6
number|5... wait... 6|6
number|5 - wait, 6|6
number|5, oops, 6|6
number|\boxed{5}. Hmm, wait. \boxed{6}|6
number|#### 5\nWait, I made a mistake. #### 6|6
number|It is 5 or 6. Wait, no, it is 6.|6
number|The answer is 5. Actually, the correct answer is 7.|7
number|The answer is 4. Wait, no, 5. Hold on, it is 6.|6
number|5. Wait, that is wrong.|None
number|5. Wait, no.|None
number|The answer is 5. Wait, let me check: 2+3 = 5.|5
number|The answer is 5. Wait, let me check. Yes.|5
number|The answer is 5. Wait, let me check. 3 cats. 2 dogs. That is right.|5
number|The answer is 5. Wait, let me check. 10/2 = 5. So 5 is correct, for 7 > 3.|5
number|The answer is 5. Wait, let me check: 5 x 2 = 10, which matches the total.|5
number|The answer is 5. Wait, let me verify: 5 * 2 = 10. Correct.|5
number|The answer is 5. Hold on, let me verify: 5 + 7 = 12. Yes, this works.|5
number|5. Wait, let me check: 3 and 2. That is right.|5
number|The total is 12. Actually, I forgot to add 3, so the total is 15.|15
number|The total is 12. Actually, we need to subtract 3, giving 9.|9
number|He has 5. Actually, there are 6 apples.|6
letters|(A). Actually, I misread the table, so (B).|B
number|The answer is 4. Wait, no, it is 5. Wait, let me check: that is right.|5
number|Let me think. Wait, let me check: 3 and 2 is 5. That is right.|5
number|The answer is 5. Wait, let me verify. Correct would be 6.|6
number|The answer is 5. Wait, it is 6. That is right.|6
number|The answer is 5. Wait, no, 6 is correct.|6
number|The answer is 5. Wait, 6 is right.|6
number|5. Wait, it is not 5 but 6. That is right.|6
number|5. Wait, no, that is right.|5
number|The answer is 5. Actually, 3 people asked me this.|5
number|The answer is 5. Actually, there are many ways.|5
number|Wait 5 minutes.|5
number|It takes 7 hours. Wait 5 minutes.|5
number|Mix it. Wait for 5 minutes. The answer is 7.|7
number|He could not wait: 5|5
number|The answer is 12. Hold on to your receipt for 30 days.|12
number|5. My mistake: 6|6
yes_no|No. My mistake was to ask.|no
number|Wait, no: 5|5
number|Actually, 5|5
letters|A. Wait, actually B|B
letters|The answer is (A). Wait, no: (B).|B
letters|The answer is A. Wait, no, B is correct.|B
letters|The answer is (A). Hold on, (B) is right.|B
letters|The answer is (A). Hold on, (A) is right and so (B) is not.|A
letters|(A). Wait, that is correct.|A
letters|The answer is B. Wait.|B
letters|(B) Wait!|B
letters|The answer is B: Hold on.|B
letters|The answer is (A). Actually, (B) says so too and it is long.|A
words|cat. Sorry, scratch that: dog|dog
yes_no|yes. No, wait|None
yes_no|Yes. Wait, no.|no
yes_no|No. Actually, yes.|yes
yes_no|Yes, he had to wait.|yes
boolean|True. Wait, that's false.|false
"""


@pytest.mark.parametrize("line", TABLE.strip().split("\n"))
def test_the_table(line):
    how, text, found = line.split("|")
    choices = CHOICES.get(how, [])
    said = extract("choice" if choices else how, text.replace(r"\n", "\n"), choices)
    assert said == (None if found == "None" else found)


@pytest.mark.parametrize(
    "piece", ["no. ", "5. Wait, ", "oh, no, ", "...", "5. Actually, ", '." * ']
)
def test_long_texts_end(piece):
    extract("number", piece * 20_000)


def test_what_is_before_a_correction_is_read_only_where_it_may_be_confirmed():
    for text, most in (("5. Wait, no, 6. " * 4, 2), ("5. Wait, that is right. " * 4, 20)):
        reads = []
        corrected(text, lambda one, reads=reads: reads.append(one) or extract("number", one))
        assert 0 < len(reads) <= most
