"""Running a program and measuring the whole of it: wall clock, processor time and peak memory of the process."""

import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

# Cores that every program that is measured may use.
CORES = 2
# What is to be drawn is drawn by then, in seconds.
LONGEST = 60
# What takes longer than this, in seconds, is run once: what else the machine does is little beside it.
ONCE = 2


class Failed(Exception):
    """A program ended with a failure; the message is what it said last."""


class Run:
    """One run of a program: seconds by the wall, seconds of processor, peak in MiB, seconds to the first line."""

    def __init__(self, wall, busy=float("nan"), peak=float("nan"), first=float("nan")):
        self.wall, self.busy, self.peak, self.first = wall, busy, peak, first


def go_first():
    """Put this process, and what it starts from now on in its session, before all other work of the machine."""
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    # Where Linux shares by sessions it is their share that counts.
    if os.path.exists("/proc/self/autogroup"):
        with open("/proc/self/autogroup", "w", encoding="ascii") as group:
            group.write("-20")


def pin():
    """Give this process, and all that it starts, the first cores."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[:CORES]
        os.sched_setaffinity(0, cores)
        return len(cores)
    return os.cpu_count()


def mebibytes(usage):
    # Linux counts KiB, macOS bytes.
    return usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def run(command, well=(0,), environment=None, watch=False):
    """Run a command to its end; `well` are the exit codes of a run that is one. What it prints is watched for the first line, or goes
    nowhere."""
    begun = time.monotonic()
    with tempfile.TemporaryFile() as said:
        out = subprocess.PIPE if watch else subprocess.DEVNULL
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=said, env=environment)
        first = float("nan")
        if watch and os.read(child.stdout.fileno(), 1 << 16):
            first = time.monotonic() - begun
            while os.read(child.stdout.fileno(), 1 << 16):
                pass
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - begun
        if watch:
            child.stdout.close()
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in well:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            raise Failed(f"{command[0]}: {lines[-1] if lines else f'exit code {child.returncode}'}")
    return Run(wall, usage.ru_utime + usage.ru_stime, mebibytes(usage), first)


def first_sight(command, text, environment, first):
    """Seconds from exec until a program on a terminal of 120 by 40 has drawn a text."""
    begun = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        import fcntl
        import termios

        if first:
            go_first()
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.execvpe(command[0], command, environment)
    seen, sight = b"", None
    while sight is None and time.monotonic() - begun < LONGEST:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            seen += os.read(terminal, 65536)
        except OSError:
            break
        if text.encode() in seen:
            sight = time.monotonic() - begun
    os.kill(pid, signal.SIGTERM)
    # What it still writes would keep it from leaving.
    drained = time.monotonic() + 5
    while time.monotonic() < drained:
        try:
            if select.select([terminal], [], [], 0.05)[0] and not os.read(terminal, 65536):
                break
        except OSError:
            break
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
    os.close(terminal)
    os.waitpid(pid, 0)
    if sight is None:
        raise Failed(f"{command[0]}: {text} was not drawn")
    return Run(sight)


def rounds(count, ways):
    """Run each way in turns, so that what else the machine does falls on all of them; the runs of each, by name. What fails is told
    once and left out."""
    runs = {name: [] for name in ways}
    for _ in range(count):
        for name, way in ways.items():
            if runs[name] is None or any(run.wall > ONCE for run in runs[name]):
                continue
            try:
                runs[name].append(way())
            except (Failed, OSError) as failed:
                print(f"{name}: {failed}", file=sys.stderr)
                runs[name] = None
    return {name: found for name, found in runs.items() if found}


def median(runs, of="wall"):
    return statistics.median(getattr(run, of) for run in runs)


def ratio(runs, others, of="wall"):
    """How many times as long the others took, the median over the rounds: each round has both beside each other."""
    return statistics.median(getattr(other, of) / getattr(run, of) for run, other in zip(runs, others))


def seconds(value):
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
