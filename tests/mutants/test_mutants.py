"""The checks are sensitive: what is broken on purpose is noticed. All mutants: `make mutants`."""

import random

import pytest

from tests.mutants.run import ALL
from tests.mutants.table import CLAIMS, ENDING, EVOLVE, MUTANTS, RESULTS, Mutant
from tests.mutants.trial import ROOT, judge

DECIDED_ALONE = [mutant for mutant in MUTANTS if mutant.file in {CLAIMS, RESULTS, ENDING, EVOLVE}]
SAMPLE = random.Random(len(MUTANTS)).sample(DECIDED_ALONE, 3)


def test_every_mutant_still_has_its_place_in_the_code():
    gone = {mutant.name: mutant.file for mutant in ALL if mutant.places(ROOT) != 1}
    assert not gone, "the code has changed: bring tests/mutants/table.py up to date"


def test_no_two_mutants_have_one_name():
    assert len({mutant.name for mutant in ALL}) == len(ALL)


@pytest.mark.parametrize("mutant", SAMPLE, ids=lambda mutant: mutant.name)
def test_a_wrong_decision_is_noticed_by_the_tests_of_decisions(mutant: Mutant):
    verdict = judge(mutant, ["tests/decisions"])
    assert verdict.caught, f"no test noticed: {mutant.name}"
