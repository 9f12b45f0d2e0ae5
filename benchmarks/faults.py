"""Faults by the hundred: kills, full disks, read-only folders, the same command twice; and what is left of the work.

Trainings of four trainers on generated data (patches of 16^3, width 4, three epochs of two steps), in one process and
in two ranks on gloo, and every command of this package are disturbed at random moments, then run again. A fault is
survived where the command ended within a minute, no process of it was left, no file of ours was cut off, no finished
epoch was lost, and the next call finished the work with the same result as an undisturbed one.

    python benchmarks/faults.py FOLDER --seed 0 --hours 0.2 --output benchmarks/results/faults_cpu.json

FOLDER holds the data and the models, which are made once, and what each fault left. The next call goes on counting in
the output file. So that a fault costs seconds, most commands run as their entry functions in copies of one process that
has imported everything; one in twelve goes through the real command line. Small disks and read-only folders are
mounted, which takes root on Linux; without, the script says so and leaves these faults out.
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from fault_files import (
    broken_files,
    can_mount,
    digests,
    is_being_written,
    read_only,
    resize,
    size_of,
    small_disk,
    temporary_folders,
    used_bytes,
)
from fault_ground import (
    EPOCHS,
    TRAINERS,
    Command,
    Ground,
    copy_into,
    curves_of,
    epochs_begun,
    import_everything,
)
from fault_victims import Victim, adopt_orphans, wait_until

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MINUTE, GRACE, LONGEST = 60, 20, 300  # seconds: to end in, for what is left, of an undisturbed call
ROOM = 64 << 20  # bytes, enough for everything
REAL = 1 / 12  # part that goes through the real command line
OURS_IN_TRAINING = ("checkpoint", "progress_components.png")


@dataclass
class Fault:
    """A fault and what came of it.

    Attributes:
        kind: ``"kill"``, ``"full disk"``, ``"read-only folder"``, ``"read-only input"`` or ``"two at once"``.
        of: What was disturbed.
        how: Signal and whom it reached, or nothing.
        moment: When.
        real: Whether the command was started through its command line.
        seconds: From the fault to the end of the command.
        left: Processes that were left.
        half_written: Files of this package that were cut off.
        half_written_by_nnunet: Files of nnU-Net that were cut off.
        epochs_lost: Finished epochs that had to be trained again.
        problems: What was not as it should be; none when the fault was survived.
    """

    kind: str
    of: str
    how: str = ""
    moment: str = ""
    real: bool = False
    seconds: float = 0.0
    left: list[str] = field(default_factory=list)
    half_written: list[str] = field(default_factory=list)
    half_written_by_nnunet: list[str] = field(default_factory=list)
    epochs_lost: int = 0
    problems: list[str] = field(default_factory=list)

    def look_at(self, files: list[str], ours: Callable[[str], bool]) -> None:
        """Take in the files that are cut off."""
        self.half_written = [file for file in files if ours(file)]
        self.half_written_by_nnunet = [Path(file).name for file in files if not ours(file)]
        if self.half_written:
            self.problems.append(f"half-written: {', '.join(self.half_written)}")

    def end(self, victim: Victim, seconds: float = MINUTE) -> None:
        """Wait for the end of a command, and for what it leaves."""
        start = time.monotonic()
        if not victim.wait(seconds):
            self.problems.append(f"did not end in {seconds} s")
            victim.bury(0)
            return
        self.seconds = round(time.monotonic() - start, 2)
        self.left = victim.bury(GRACE)
        if self.left:
            self.problems.append(f"processes left: {len(self.left)}")


@dataclass(frozen=True)
class Reference:
    """What an undisturbed call of a command does.

    Attributes:
        seconds: How long it takes.
        size: Bytes that it writes.
        files: Name -> digest of every file in its folder; None for those that differ from call to call.
    """

    seconds: float
    size: int
    files: dict[str, str | None]


class Campaign:
    """Faults that are drawn one after another.

    Args:
        folder: Data, models, and a folder for each fault.
        rng: Source of all choices.
        mounts: Whether disks and read-only folders can be mounted.
    """

    def __init__(self, folder: Path, rng: random.Random, mounts: bool):
        self.folder, self.rng = folder, rng
        self.ground = Ground(folder / "ground")
        self.commands = self.ground.commands()
        self.number = 0
        draws: list[tuple[int, Callable[[], Iterator[Fault]]]] = [
            (9, self.kill_training),
            (3, self.kill_ranks),
            (60, self.kill_command),
            (6, self.two_commands),
            (2, self.two_trainings),
        ]
        if mounts:
            draws += [
                (16, self.fill_disk_of_command),
                (2, self.fill_disk_of_training),
                (6, self.write_protect_command),
                (1, self.write_protect_training),
                (4, self.write_protect_inputs),
            ]
        self.draws = draws

    def next(self) -> Iterator[Fault]:
        """Do the next faults, one or several to the same work."""
        (draw,) = self.rng.choices([draw for _, draw in self.draws], [weight for weight, _ in self.draws])
        yield from draw()

    # what is disturbed

    def kill_training(self) -> Iterator[Fault]:
        """Kill a training one to three times, at its beginning, in epochs, while a checkpoint is written, and so on."""
        trainer = self.rng.choice(TRAINERS)
        workers = self.rng.choice((1, 2))

        def start(results: Path, log: Path, *options: str, real: bool = False) -> Victim:
            return self.ground.train(trainer, results, log, "--npz", *options, real=real, workers=workers)

        yield from self._kill_until_done(f"training, {trainer}", trainer, start, ("group", "main", "worker"))

    def kill_ranks(self) -> Iterator[Fault]:
        """Kill one of two ranks, their launcher, or all of them."""
        trainer = self.rng.choice(TRAINERS)

        def start(results: Path, log: Path, *options: str, real: bool = False) -> Victim:
            return self.ground.train_in_ranks(trainer, results, log, *options)

        yield from self._kill_until_done("DDP training", trainer, start, ("worker", "worker", "main", "group"))

    def kill_command(self) -> Iterator[Fault]:
        """Kill a command at any moment, and run it again."""
        command, cell, log = self._choose_command()
        seconds = self._reference(command).seconds
        real = self.rng.random() < REAL
        how, target = self.rng.choice(SIGNALS), self.rng.choice(("group", "main", "worker"))
        moment = self.rng.uniform(0, seconds + (8 if real else 0))
        victim = self.ground.start(command, cell, log, real=real)
        victim.wait(moment)
        if target == "worker" and not victim.workers():
            target = "main"
        if victim.code is not None or not victim.strike(target, how, self.rng.choice):
            victim.bury(GRACE)
            return
        fault = Fault("kill", command.name, f"{how.name} to {_SPELT[target]}", "any", real)
        fault.end(victim)
        fault.look_at(broken_files(cell), lambda _: command.ours)
        self._again(command, cell, fault)
        yield self._done(fault, cell)

    def fill_disk_of_command(self) -> Iterator[Fault]:
        """Run a command on a disk that is too small, then give it room."""
        command, cell, log = self._choose_command(needs=False)
        with small_disk(cell, ROOM):
            copy_into(cell, command.needs())
            room = int(self.rng.random() * self._reference(command).size)
            resize(cell, used_bytes(cell) + room)
            victim = self.ground.start(command, cell, log)
            fault = Fault("full disk", command.name, moment=f"{room} bytes")
            fault.end(victim, LONGEST)
            self._check_message(fault, victim, command.ours)
            fault.look_at(broken_files(cell), lambda _: command.ours)
            resize(cell, ROOM)
            self._again(command, cell, fault)
            yield self._done(fault, cell)

    def write_protect_command(self) -> Iterator[Fault]:
        """Run a command where it may not write."""
        command, cell, log = self._choose_command()
        before = digests(cell)
        with read_only(cell):
            victim = self.ground.start(command, cell, log)
            fault = Fault("read-only folder", command.name)
            fault.end(victim, LONGEST)
            if victim.code == 0 and self._reference(command).size:
                fault.problems.append("exit code 0")
            self._check_message(fault, victim, command.ours)
        if digests(cell) != before:
            fault.problems.append("files have changed")
        yield self._done(fault, cell)

    def write_protect_inputs(self) -> Iterator[Fault]:
        """Run a command on data and models that nobody may write to."""
        command, cell, log = self._choose_command()
        with read_only(self.ground.folder):
            fault = Fault("read-only input", command.name)
            fault.end(self.ground.start(command, cell, log), LONGEST)
            self._compare(command, cell, fault)
        yield self._done(fault, cell)

    def two_commands(self) -> Iterator[Fault]:
        """Run the same command twice at once, into the same folder."""
        command, cell, log = self._choose_command(ours=True)
        seconds = self._reference(command).seconds
        victims = [self.ground.start(command, cell, log)]
        time.sleep(self.rng.uniform(0, seconds))
        victims.append(self.ground.start(command, cell, log.with_suffix(".second.txt")))
        fault = Fault("two at once", command.name)
        for victim in victims:
            fault.end(victim, LONGEST)
            self._check_message(fault, victim, ours=True)
        if all(victim.code != 0 for victim in victims):
            fault.problems.append("neither ended well")
        self._compare(command, cell, fault)
        yield self._done(fault, cell)

    def two_trainings(self) -> Iterator[Fault]:
        """Train a fold twice at once: one of them is refused."""
        trainer, cell = self.rng.choice(TRAINERS), self._new_cell()
        victims = [self.ground.train(trainer, cell / "results", cell / "0.txt", "--npz")]
        time.sleep(self.rng.uniform(0, 2))
        if victims[0].code is not None:
            return
        victims.append(self.ground.train(trainer, cell / "results", cell / "1.txt", "--npz"))
        fault = Fault("two at once", f"training, {trainer}")
        for victim in victims:
            fault.end(victim, LONGEST)
        if sorted(victim.code == 0 for victim in victims) != [False, True]:
            fault.problems.append(f"exit codes {[victim.code for victim in victims]}")
        if not any("Another process trains" in victim.output for victim in victims):
            fault.problems.append("none was refused")
        fault.look_at(broken_files(cell / "results"), _is_ours_in_training)
        self._check_trained(trainer, cell / "results", fault)
        yield self._done(fault, cell)

    def fill_disk_of_training(self) -> Iterator[Fault]:
        """Train, or validate, on a disk that is too small, then give it room and continue."""
        trainer, cell = self.rng.choice(TRAINERS), self._new_cell()
        results = cell / "results"
        results.mkdir()
        moment = self.rng.choice(("training", "validation"))
        model = self.ground.model(trainer)
        with small_disk(results, ROOM):
            options = ["--npz"]
            if moment == "validation":
                shutil.copytree(model, self.ground.model(trainer, results))
                shutil.rmtree(self.ground.model(trainer, results) / "fold_0" / "validation")
                options.append("--val")
            missing = size_of(model / "fold_0" / "validation") if moment == "validation" else size_of(model)
            resize(results, used_bytes(results) + int(self.rng.random() * missing))
            victim = self.ground.train(trainer, results, cell / "0.txt", *options)
            fault = Fault("full disk", f"training, {trainer}", moment=moment)
            fault.end(victim, LONGEST)
            self._check_message(fault, victim, ours=False)
            fault.look_at(broken_files(results), _is_ours_in_training)
            before = epochs_begun(victim.output)
            resize(results, ROOM)
            victim = self.ground.train(trainer, results, cell / "1.txt", "--npz", "--c")
            victim.wait(LONGEST)
            self._check_epochs(before, victim, fault)
            victim.bury(GRACE)
            self._check_trained(trainer, results, fault)
            yield self._done(fault, cell)

    def write_protect_training(self) -> Iterator[Fault]:
        """Train where nothing can be written."""
        trainer, cell = self.rng.choice(TRAINERS), self._new_cell()
        shutil.copytree(self.ground.results, cell / "results")
        before = digests(cell / "results")
        with read_only(cell / "results"):
            options = self.rng.choice(((), ("--c",), ("--val",)))
            victim = self.ground.train(trainer, cell / "results", cell / "0.txt", *options)
            fault = Fault("read-only folder", f"training, {trainer}", moment=" ".join(options))
            fault.end(victim, LONGEST)
            if victim.code == 0:
                fault.problems.append("exit code 0")
            self._check_message(fault, victim, ours=False)
        if digests(cell / "results") != before:
            fault.problems.append("files have changed")
        yield self._done(fault, cell)

    # how it is done

    def _kill_until_done(
        self, of: str, trainer: str, start: Callable[..., Victim], targets: tuple[str, ...]
    ) -> Iterator[Fault]:
        cell = self._new_cell()
        results = cell / "results"
        fold = self.ground.model(trainer, results) / "fold_0"
        faults: list[Fault] = []
        before: list[int] = []
        kills = self.rng.randint(1, 3)
        for call in range(10):
            options = self._options(fold) if call else []
            moment = self.rng.choice(("beginning", "epoch", "checkpoint", "checkpoint", "validation", "final", "any"))
            how, target = self.rng.choice(SIGNALS), self.rng.choice(targets)
            last = len(faults) == kills or call == 9
            real = not last and "DDP" not in of and self.rng.random() < REAL
            victim = start(results, cell / f"{call}.txt", *options, real=real)
            struck = False
            if not last:
                self._wait_for(moment, victim, fold)
                if target == "worker" and not victim.workers():
                    target = "main"
                struck = victim.code is None and victim.strike(target, how, self.rng.choice)
            fault = Fault("kill", of, f"{how.name} to {_SPELT[target]}", moment, real)
            if struck:
                fault.end(victim)
            else:
                victim.wait(LONGEST)
            if faults:  # the call before this one
                self._check_epochs(before, victim, faults[-1])
            if struck:
                if target == "worker" and victim.code == 0 and "DDP" in of:
                    fault.problems.append("exit code 0")
                if target == "worker" and victim.code != 0 and not _has_message(victim.output):
                    fault.problems.append("no message")
                if fold.is_dir():
                    fault.look_at(broken_files(fold.parent), _is_ours_in_training)
                faults.append(fault)
            elif victim.code != 0:
                if not faults:
                    raise SystemExit(f"An undisturbed training failed:\n{victim.output[-4000:]}")
                faults[-1].problems.append(f"could not go on: {victim.output[-600:]}")
                victim.bury(0)
                break
            else:
                victim.bury(GRACE)
            if victim.code == 0 and (last or not struck):
                break
            before = epochs_begun(victim.output) or before
        if not faults:
            shutil.rmtree(cell)
            return
        self._check_trained(trainer, results, faults[-1])
        for fault in faults[:-1]:
            yield fault
        yield self._done(faults[-1], cell)

    def _wait_for(self, moment: str, victim: Victim, fold: Path) -> None:
        """Wait until a training is at a moment, and a little longer."""
        rng = self.rng
        ended = lambda: victim.code is not None  # noqa: E731

        def printed(text: str) -> Callable[[], bool]:
            return lambda: ended() or text in victim.output

        if moment == "beginning":
            victim.wait(rng.uniform(0, 1))
        elif moment == "epoch":
            wait_until(printed("Epoch"), LONGEST, 0.03)
            victim.wait(rng.uniform(0, 1.5))
        elif moment == "checkpoint":
            for _ in range(rng.randint(1, 3)):
                wait_until(lambda: ended() or not is_being_written(fold), LONGEST, 0.002)
                wait_until(lambda: ended() or is_being_written(fold), LONGEST, 0.002)
            time.sleep(rng.choice((0, rng.uniform(0, 0.02))))
        elif moment == "validation":
            wait_until(printed("predicting"), LONGEST, 0.03)
            victim.wait(rng.uniform(0, 1))
        elif moment == "final":
            wait_until(lambda: ended() or (fold / "checkpoint_final.pth").exists(), LONGEST, 0.003)
            victim.wait(rng.choice((0, rng.uniform(0, 0.3))))
        else:
            victim.wait(rng.uniform(0, 6))

    def _options(self, fold: Path) -> list[str]:
        """How a user goes on: with --c, or as the workflow does."""
        from nnunet_ext.workflow.fold_training import options_for

        return self.rng.choice((["--c"], options_for(fold)))

    def _check_epochs(self, before: list[int], victim: Victim, fault: Fault) -> None:
        """Count epochs that were finished in one call and were trained again in the next."""
        now = epochs_begun(victim.output)
        if before and now and now[0] < before[-1]:
            fault.epochs_lost = before[-1] - now[0]
            fault.problems.append(f"epochs lost: {fault.epochs_lost}")

    def _check_trained(self, trainer: str, results: Path, fault: Fault) -> None:
        """Whether a training has ended as one does that nobody disturbed."""
        fold = self.ground.model(trainer, results) / "fold_0"
        for name in ("checkpoint_final.pth", "validation/summary.json"):
            if not (fold / name).is_file():
                fault.problems.append(f"at the end: no {name}")
                return
        if broken := broken_files(fold.parent):
            fault.problems.append(f"at the end, cut off: {', '.join(broken)}")
            return
        curves = curves_of(fold / "checkpoint_final.pth")
        short = sorted(name for name, values in curves.items() if len(values) != EPOCHS or any(v != v for v in values))
        # regions can have no Dice, and the shares of components are looked at every tenth epoch only
        short = [
            name
            for name in short
            if name != "dice_per_class_or_region" and not name.startswith("health_gradient_share_")
        ]
        if short:
            fault.problems.append(f"at the end, curves with gaps: {', '.join(short)}")

    def _choose_command(self, *, ours: bool = False, needs: bool = True) -> tuple[Command, Path, Path]:
        commands = [command for command in self.commands if command.ours or not ours]
        (command,) = self.rng.choices(commands, [command.weight for command in commands])
        self._reference(command)
        cell = self._new_cell() / "cell"
        cell.mkdir()
        if needs:
            copy_into(cell, command.needs())
        return command, cell, cell.with_name("output.txt")

    def _reference(self, command: Command) -> "Reference":
        """What an undisturbed call does; kept in the folder for later calls of the script."""
        file = self.folder / "reference" / f"{command.name.replace(' ', '_')}.json"
        if file.is_file():
            return Reference(**json.loads(file.read_text()))
        found, seconds, size = [], 0.0, 0
        for number in range(2):
            cell = file.with_suffix("") / str(number)
            shutil.rmtree(cell, ignore_errors=True)
            cell.mkdir(parents=True)
            copy_into(cell, command.needs())
            before = size_of(cell)
            victim = self.ground.start(command, cell, cell.with_suffix(".txt"))
            victim.wait(LONGEST)
            seconds = victim.seconds
            victim.bury(GRACE)
            if victim.code != 0:
                raise SystemExit(f"{command.name} failed undisturbed:\n{victim.output[-4000:]}")
            found.append(digests(cell))
            size = size_of(cell) - before
        files = {name: digest if found[1].get(name) == digest else None for name, digest in found[0].items()}
        reference = Reference(seconds, size, files)
        file.write_text(json.dumps(asdict(reference)))
        return reference

    def _again(self, command: Command, cell: Path, fault: Fault) -> None:
        """Run a command again where it has not ended its work, and compare."""
        expected = self._reference(command).files
        present = digests(cell)
        if expected.keys() - present.keys() or temporary_folders(cell) or not command.ours:
            victim = self.ground.start(command, cell, cell.with_name("again.txt"), again=True)
            victim.wait(LONGEST)
            victim.bury(GRACE)
            if victim.code != 0:
                done = not expected.keys() - present.keys()  # then some commands refuse to write it again
                if not done:
                    fault.problems.append(f"again: {victim.output[-600:]}")
        self._compare(command, cell, fault)

    def _compare(self, command: Command, cell: Path, fault: Fault) -> None:
        expected = self._reference(command).files
        present = digests(cell)
        if missing := sorted(expected.keys() - present.keys()):
            fault.problems.append(f"missing: {', '.join(missing)}")
        if surplus := sorted(present.keys() - expected.keys()):
            fault.problems.append(f"surplus: {', '.join(surplus)}")
        if other := sorted(name for name, digest in expected.items() if digest and present.get(name, digest) != digest):
            fault.problems.append(f"other content: {', '.join(other)}")
        if broken := broken_files(cell):
            fault.problems.append(f"at the end, cut off: {', '.join(broken)}")

    def _check_message(self, fault: Fault, victim: Victim, ours: bool) -> None:
        """One message and no traceback where one of our commands could not do its work."""
        if victim.code in (0, None):
            return
        if ours and ("Traceback" in victim.output or "Error: " not in victim.output):
            fault.problems.append(f"message: {victim.output[-600:]}")
        elif not ours and not _has_message(victim.output):
            fault.problems.append("no message")

    def _new_cell(self) -> Path:
        self.number += 1
        cell = self.folder / "cells" / f"{os.getpid()}_{self.number}"
        cell.mkdir(parents=True)
        return cell

    def _done(self, fault: Fault, cell: Path) -> Fault:
        """Keep what a fault left only where it was not survived."""
        cell = self.folder / "cells" / cell.relative_to(self.folder / "cells").parts[0]
        if not fault.problems:
            shutil.rmtree(cell, ignore_errors=True)
        else:
            fault.problems.append(f"see {cell.name}")
        return fault


_SPELT = {"group": "all processes", "main": "the command's process alone", "worker": "one worker"}


def _is_ours_in_training(file: str) -> bool:
    return Path(file).name.startswith(OURS_IN_TRAINING)


def _has_message(output: str) -> bool:
    return any(word in output for word in ("Error", "Exception", "Interrupt", "error", "no longer alive"))


class Results:
    """Counts in a JSON file, which a later call continues.

    Args:
        file: Where they are.
        seed: Seed of this call.
    """

    def __init__(self, file: Path, seed: int):
        self.file = file
        self.content = json.loads(file.read_text()) if file.is_file() else {"seeds": [], "counts": {}, "falls": []}
        self.content["seeds"] = sorted({*self.content["seeds"], seed})
        self.content["environment"] = {
            "device": f"CPU, {platform.machine()}",
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "nnunetv2", "batchgenerators")},
        }
        self.content["how"] = (
            "command line: started as a user starts it. entry function: the command's own entry function in a copy "
            "of a process that has imported everything, with nnU-Net's pools forked instead of spawned."
        )

    @property
    def tried(self) -> int:
        """Faults so far."""
        return sum(count["tried"] for of in self.content["counts"].values() for count in of.values())

    def add(self, fault: Fault) -> None:
        """Count a fault and write the file."""
        names = ("tried", "survived", "epochs_lost", "half_written", "half_written_by_nnunet", "processes_left")
        count = self.content["counts"].setdefault(fault.kind, {}).setdefault(fault.of, dict.fromkeys(names, 0))
        count["tried"] += 1
        count["survived"] += not fault.problems
        count["epochs_lost"] += fault.epochs_lost
        count["half_written"] += len(fault.half_written)
        count["half_written_by_nnunet"] += len(fault.half_written_by_nnunet)
        count["processes_left"] += len(fault.left)
        through = "command line" if fault.real else "entry function"
        told = {"through": through, "signals": fault.how, "moments of kills": fault.moment if fault.how else ""}
        for name, value in told.items():
            if value:
                tally = Counter(self.content.setdefault(name, {}))
                tally[value] += 1
                self.content[name] = dict(sorted(tally.items()))
        names_of_nnunet = Counter(self.content.setdefault("half-written by nnU-Net", {}))
        names_of_nnunet.update(fault.half_written_by_nnunet)
        self.content["half-written by nnU-Net"] = dict(names_of_nnunet)
        slowest = self.content.setdefault("longest seconds from a kill to the end", {})
        if fault.kind == "kill":
            slowest[fault.of] = max(slowest.get(fault.of, 0), fault.seconds)
        if fault.problems:
            told_of_fall = {"of": f"{fault.kind}, {fault.of}", "how": fault.how, "moment": fault.moment}
            self.content["falls"].append(told_of_fall | {"through": through, "problems": fault.problems})
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_suffix(".part")
        temporary.write_text(json.dumps(self.content, indent=1) + "\n")
        temporary.replace(self.file)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for data, models and what faults leave")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=0.2, help="time after which no new fault is begun")
    parser.add_argument("--only", help="kinds of faults to do: part of a method's name, for example two_commands")
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the counts; continued if it exists")
    arguments = parser.parse_args()
    end = time.monotonic() + 3600 * arguments.hours
    from nnunet_ext.trainer_search import plugin_folder

    os.environ |= {
        "nnUNet_extTrainer": str(plugin_folder()),
        "nnUNet_def_n_proc": "1",
        "nnUNet_n_proc_DA": "1",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "MPLBACKEND": "Agg",
    }
    folder = arguments.folder.resolve()
    mounts = can_mount(folder)
    if not mounts:
        print("No disks can be mounted here (it takes root): full disks and read-only folders are left out.")
    results = Results(arguments.output, arguments.seed)
    results.content["mounts"] = mounts
    adopt_orphans()
    import_everything()
    rng = random.Random(f"{arguments.seed} {results.tried}")
    campaign = Campaign(folder, rng, mounts)
    campaign.ground.prepare()
    if arguments.only:
        campaign.draws = [(w, draw) for w, draw in campaign.draws if arguments.only in draw.__name__]
    while time.monotonic() < end:
        for fault in campaign.next():
            results.add(fault)
            print(
                f"{results.tried:4d}  {'fell    ' if fault.problems else 'survived'}  {fault.kind}, {fault.of}, "
                f"{fault.how} {fault.moment} {fault.seconds} s  {' | '.join(fault.problems)[:300]}",
                flush=True,
            )


if __name__ == "__main__":
    main()
