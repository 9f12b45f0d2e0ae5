"""SIGTERM in a command, and in what it forks."""

import multiprocessing
import os
import signal
import time

import pytest

from nnunet_ext.cli.termination import clean_exit_on_sigterm


def command(cleaned):
    with clean_exit_on_sigterm():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            cleaned.append(True)


def test_command_leaves_through_its_clean_up_and_the_handler_is_gone_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    cleaned = []
    with pytest.raises(SystemExit) as exit_info:
        command(cleaned)
    assert exit_info.value.code == 128 + signal.SIGTERM
    assert cleaned
    assert signal.getsignal(signal.SIGTERM) is before


def test_forked_process_dies_of_the_signal_itself_and_the_command_keeps_its_handler():
    with clean_exit_on_sigterm():
        handler = signal.getsignal(signal.SIGTERM)
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        process.start()
        assert signal.getsignal(signal.SIGTERM) is handler
        process.terminate()
        process.join(30)
    # with Python's handler it would be 143, and a signal that arrives while it forks would be lost
    assert process.exitcode == -signal.SIGTERM
