"""Work over cases in processes."""

import os
import signal

import pytest

from nnunet_ext.errors import InputError, UserError
from nnunet_ext.parallel import map_cases


def double_or_fail(number):
    if number < 0:
        raise InputError([f"{number} is negative", "and that is two problems"])
    return 2 * number


def end_this_process(_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("num_processes", [1, 3])
def test_results_are_in_the_order_of_the_cases(num_processes):
    assert map_cases(double_or_fail, [(n,) for n in range(7)], num_processes, "Doubling") == list(range(0, 14, 2))


@pytest.mark.parametrize("num_processes", [1, 2])
def test_problems_of_all_cases_are_raised_together(num_processes):
    with pytest.raises(InputError) as caught:
        map_cases(double_or_fail, [(-1,), (1,), (-2,)], num_processes, "Doubling")
    second = "and that is two problems"
    assert caught.value.problems == ["-1 is negative", second, "-2 is negative", second]


def test_killed_process_is_an_error_of_the_user():
    with pytest.raises(UserError, match="--num-processes"):
        map_cases(end_this_process, [(1,), (2,)], 2, "Ending")


def test_no_cases_give_no_results():
    assert map_cases(double_or_fail, [], None, "Doubling") == []
