"""Work over cases in processes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnunet_ext.errors import InputError, UserError
from nnunet_ext.files.locks import try_lock
from nnunet_ext.parallel import exit_when_a_child_is_killed, forked_processes_end_with_this_one, map_cases


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


@pytest.mark.parametrize("num_processes", [1, 2])
def test_first_problem_can_be_the_last(num_processes):
    with pytest.raises(InputError) as caught:
        map_cases(double_or_fail, [(1,), (-1,), (-1,), (-1,)], num_processes, "Doubling", stop_at_first=True)
    assert caught.value.problems == ["-1 is negative", "and that is two problems"]


def test_killed_process_is_an_error_of_the_user():
    with pytest.raises(UserError, match="--num-processes"):
        map_cases(end_this_process, [(1,), (2,)], 2, "Ending")


def test_no_cases_give_no_results():
    assert map_cases(double_or_fail, [], None, "Doubling") == []


# two workers, each of which holds a lock while it lives, and works for a minute
INTERRUPTED = """
import sys, time
from pathlib import Path
from nnunet_ext.files.locks import try_lock
from nnunet_ext.parallel import map_cases

def work(name):
    lock = try_lock(Path(name))
    Path(name + ".started").touch()
    time.sleep(60)

if __name__ == "__main__":
    map_cases(work, [(name,) for name in sys.argv[1:]], 2, "Working")
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_command(how, tmp_path):
    (tmp_path / "command.py").write_text(INTERRUPTED)
    locks = [tmp_path / "a", tmp_path / "b"]
    command = [sys.executable, str(tmp_path / "command.py"), *map(str, locks)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: all(Path(f"{lock}.started").exists() for lock in locks))
        process.send_signal(how)
        errors = process.communicate(timeout=120)[1]
    finally:
        process.kill()
    wait_until(lambda: all(is_free(lock) for lock in locks))
    assert "SpawnProcess" not in errors


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_forked_processes_of_the_block_end_with_theirs_and_no_others(how, tmp_path):
    """A process forks one worker in the block and one after it, and is killed; the second holds no end of the pipe."""
    inside, after = tmp_path / "inside", tmp_path / "after"

    def work(lock):
        assert try_lock(lock) is not None
        lock.with_suffix(".started").touch()
        time.sleep(60)

    def fork_workers():
        with forked_processes_end_with_this_one():
            multiprocessing.get_context("fork").Process(target=work, args=(inside,)).start()
        late = multiprocessing.get_context("fork").Process(target=work, args=(after,))
        late.start()
        after.with_suffix(".pid").write_text(str(late.pid))
        time.sleep(60)

    process = multiprocessing.get_context("fork").Process(target=fork_workers)
    process.start()
    wait_until(lambda: all(path.with_suffix(".started").exists() for path in (inside, after)))
    wait_until(lambda: after.with_suffix(".pid").exists() and after.with_suffix(".pid").read_text())
    os.kill(process.pid, how)
    process.join()  # with a limit of time it would wait for the workers as well
    try:
        wait_until(lambda: is_free(inside), 10)
        assert not is_free(after)
    finally:
        os.kill(int(after.with_suffix(".pid").read_text()), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_process_whose_worker_is_killed_ends_instead_of_waiting(tmp_path):
    """Each worker of a pool holds a lock; the first is killed while it works."""
    locks, said = [tmp_path / "a", tmp_path / "b"], tmp_path / "said"

    def wait_for_workers():
        with exit_when_a_child_is_killed(said.write_text), multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(hold, locks, chunksize=1)

    process = multiprocessing.get_context("fork").Process(target=wait_for_workers)
    process.start()
    pids = [path.with_suffix(".pid") for path in locks]
    wait_until(lambda: all(path.exists() and path.read_text() for path in pids))
    time.sleep(1)  # a worker that is killed in its first moment is not seen
    os.kill(int(pids[0].read_text()), signal.SIGKILL)
    process.join(20)
    process.kill()
    assert process.exitcode == 1
    assert said.read_text() == "SIGKILL"
    wait_until(lambda: all(is_free(lock) for lock in locks), 10)


def hold(lock):
    assert try_lock(lock) is not None
    lock.with_suffix(".pid").write_text(str(os.getpid()))
    time.sleep(60)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_pool_that_ends_its_workers_and_one_killed_later_end_nothing(tmp_path):
    said, ended = tmp_path / "said", tmp_path / "ended"

    def work():
        with exit_when_a_child_is_killed(said.write_text):
            with multiprocessing.get_context("fork").Pool(2) as pool:
                assert pool.map(abs, [-1, -2]) == [1, 2]
                pool.map_async(time.sleep, [60, 60])
                time.sleep(0.5)
            time.sleep(1)
        late = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        late.start()
        late.kill()
        late.join()
        time.sleep(0.5)
        ended.touch()

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert ended.exists()
    assert not said.exists()


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_free(path):
    lock = try_lock(path)
    if lock is not None:
        os.close(lock)
    return lock is not None
