"""State files: the last good one survives any kill, and what is none is refused before memory is taken."""

import hashlib
import io
import os
import resource
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.core import state_files
from tests.states import STATES, after, arrays_of


def forged(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays as a state file whose digest is right."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    seal(path, buffer.getvalue())


def seal(path: Path, content: bytes) -> None:
    path.write_bytes(content + hashlib.sha256(content).digest())


def saved(name: str, path: Path, steps: int = 4) -> Any:
    state = after(name, steps)
    state.save(path)
    return state


@pytest.mark.parametrize("name", STATES)
def test_a_state_is_read_bit_for_bit_and_goes_on_as_the_one_that_was_saved(
    name: str, tmp_path: Path
) -> None:
    state = saved(name, tmp_path / "one")
    again = type(state).load(tmp_path / "one")
    again.save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    # As a link too, and in the folder that is the current one.
    (tmp_path / "link").symlink_to(tmp_path / "one")
    type(state).load(str(tmp_path / "link"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "one", "two"]


@pytest.mark.parametrize("name", STATES)
def test_a_loaded_state_goes_on_as_the_one_that_was_saved(name: str, tmp_path: Path) -> None:
    """Catches: arrays that cannot be written to, or are of the file's other arrays."""
    saved(name, tmp_path / "state")
    states = STATES[name]()
    for _ in range(5):
        whole = next(states)
    kind = type(whole)
    loaded = kind.load(tmp_path / "state")
    if kind is fastpath.AuditLedger:
        if loaded._waiting:
            loaded.record(0.0)
        loaded.audit(np.random.default_rng(0))
    elif kind is fastpath.MomentState:
        loaded.update(np.ones((2, 2)), np.ones((2, 3)))
    elif kind is fastpath.QuantisedCache:
        loaded.append(np.ones((2, 4)), np.ones((2, 2)))
        loaded.evict(len(loaded) - 1)
    elif kind is fastpath.KeyIndex:
        loaded.append(np.ones((2, 4), np.float32), np.ones((2, 2), np.float32))
    elif kind is fastpath.BalancedCoreset:
        loaded.absorb(np.ones((2, 4), np.float32), np.ones((2, 2), np.float32))
    else:
        loaded.attend(np.full((3, 2), 0.25))
        loaded.decode()
    loaded.save(tmp_path / "after")
    assert (tmp_path / "after").read_bytes() != (tmp_path / "state").read_bytes()


def test_a_save_replaces_the_file_in_one_step(tmp_path: Path) -> None:
    """A link to the old file, and whoever has it open, keeps the old state."""
    saved("MomentState", tmp_path / "state")
    before = (tmp_path / "state").read_bytes()
    os.link(tmp_path / "state", tmp_path / "old")
    saved("MomentState", tmp_path / "state", steps=9)
    assert (tmp_path / "old").read_bytes() == before
    assert (tmp_path / "state").read_bytes() != before


@pytest.mark.parametrize("name", STATES)
def test_the_other_byte_order_is_read_as_the_same_numbers(name: str, tmp_path: Path) -> None:
    state = saved(name, tmp_path / "here")
    arrays = arrays_of(tmp_path / "here")
    forged(tmp_path / "there", {n: x.astype(x.dtype.newbyteorder(">")) for n, x in arrays.items()})
    assert (tmp_path / "there").read_bytes() != (tmp_path / "here").read_bytes()
    again = type(state).load(tmp_path / "there")
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "here").read_bytes()


@pytest.mark.parametrize("name", STATES)
def test_another_version_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    state = saved(name, tmp_path / "state")
    arrays = arrays_of(tmp_path / "state")
    kind = str(arrays["kind"])
    other = kind[:-1] + "9"
    forged(tmp_path / "state", arrays | {"kind": np.array(other)})
    with pytest.raises(
        ValueError, match=rf"path must name a file of .*{kind}.*, got .* of {other}\."
    ):
        type(state).load(tmp_path / "state")


def _lies(arrays: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what no state has, of the arrays of one: each left out, of another shape, type or sign."""
    lies: dict[str, dict[str, Any]] = {"an array that no state has": arrays | {"more": np.zeros(2)}}
    for name, x in arrays.items():
        lies[f"no {name}"] = {n: y for n, y in arrays.items() if n != name}
        lies[f"{name} with an axis more"] = arrays | {name: np.stack([x, x])}
        lies[f"{name} as complex numbers"] = arrays | {name: np.zeros(x.shape, complex)}
        lies[f"{name} as text"] = arrays | {name: np.full(x.shape, "?")}
        if x.ndim and x.size:
            lies[f"{name} cut"] = arrays | {name: x[:-1]}
            lies[f"{name} empty"] = arrays | {name: x[:0]}
    if "sizes" in arrays:
        lies["monomials of a GiB"] = arrays | {"sizes": np.array([40, 3, 5])}
    for name in arrays.keys() & {"sizes", "numbers", "counts", "leading", "moments.sizes"}:
        for number in (0, -1, 2**31 - 1, 2**62):
            for place in range(arrays[name].size):
                x = arrays[name].copy()
                x.flat[place] = number
                lies[f"{name} with {number} at {place}"] = arrays | {name: x}
    return lies


def _loaded(kind: Any, path: Path) -> Any:
    """Return the state that a file holds, or the sentence with which it is refused."""
    try:
        return kind.load(path)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("name", STATES)
def test_arrays_of_no_state_are_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    state = saved(name, tmp_path / "state")
    kind = type(state)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for lie, arrays in _lies(arrays_of(tmp_path / "state")).items():
        forged(tmp_path / "lie", arrays)
        read = _loaded(kind, tmp_path / "lie")
        if isinstance(read, str):
            assert read.startswith("path must name a "), lie
            assert read.endswith("."), lie
        else:
            # Then it is a state, and says the same when it is saved.
            read.save(tmp_path / "again")
            assert (tmp_path / "again").read_bytes() == (tmp_path / "lie").read_bytes(), lie
    # In KiB: nothing was allocated that the headers promised.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held < 2**17


def _archives(whole: bytes) -> dict[str, bytes]:
    """Return archives that lie, packed anew from the members of one."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def packed(method: int = zipfile.ZIP_STORED, **changed: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, data in (members | changed).items():
                archive.writestr(name, data)
        return buffer.getvalue()

    def header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            stream, {"shape": shape, "fortran_order": False, "descr": dtype}
        )
        return stream.getvalue()

    name = sorted(set(members) - {"kind.npy"})[0]
    twice = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(twice, "w") as archive:
        for member, data in (*members.items(), *members.items()):
            archive.writestr(member, data)
    stored = packed()
    place = stored.rindex(b"PK\x01\x02")  # the last member in the directory
    return {
        "a bomb": packed(zipfile.ZIP_DEFLATED, **{name: header((2**24,)) + bytes(2**27)}),
        "a header of more than there is": packed(**{name: header((2**40,)) + bytes(64)}),
        "a header of less than there is": packed(**{name: header((1,)) + bytes(64)}),
        "a header of a negative length": packed(**{name: header((-8,)) + bytes(64)}),
        "pickled objects": packed(**{name: header((1,), "|O") + b"cos\nsystem\n(S'exit'\ntR."}),
        "records": packed(**{name: b"\x93NUMPY\x03\x00" + bytes(64)}),
        "a header that is code": packed(
            **{name: b"\x93NUMPY\x01\x00\x20\x00__import__('os').getcwd()      \n"}
        ),
        "no header": packed(**{name: b""}),
        "a name twice": twice.getvalue(),
        "no archive": b"nothing",
        "no bytes": b"",
        "a directory that lies about a size": (
            stored[: place + 24] + (2**31).to_bytes(4, "little") + stored[place + 28 :]
        ),
        "a directory that lies about a place": (
            stored[: place + 42] + (0).to_bytes(4, "little") + stored[place + 46 :]
        ),
        "an encrypted member": stored[: place + 8] + b"\x01\x00" + stored[place + 10 :],
        "half": stored[: len(stored) // 2],
    }


def test_archives_that_lie_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    state = saved("MomentState", tmp_path / "state")
    whole = (tmp_path / "state").read_bytes()[:-32]
    archives = _archives(whole)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for lie, content in archives.items():
        seal(tmp_path / "lie", content)
        read = _loaded(type(state), tmp_path / "lie")
        assert isinstance(read, str), lie
        assert read.startswith("path must name a state file as it was saved, got "), lie
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held < 2**16


def test_pipes_and_devices_are_refused_and_folders_are_no_files(tmp_path: Path) -> None:
    state = after("AuditLedger", 1)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ValueError, match="it is a pipe or a device"):
            type(state).load(path)
    with pytest.raises(IsADirectoryError):
        type(state).load(tmp_path)
    with pytest.raises(OSError, match=r"[Dd]irectory|exists"):
        state.save(tmp_path)


def test_what_a_killed_process_left_goes_when_the_state_is_saved_again(tmp_path: Path) -> None:
    left, other = tmp_path / f".state.{'0' * 32}", tmp_path / f".other.{'0' * 32}"
    young, mine = tmp_path / f".state.{'1' * 32}", tmp_path / ".state.mine"
    for path in (left, other, young, mine):
        path.write_bytes(b"half")
    for path in (left, other, mine):
        os.utime(path, (0, 0))
    saved("AuditLedger", tmp_path / "state")
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in (other, young, mine)} | {
        "state"
    }


def test_what_another_process_writes_at_the_moment_stays(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    writing = tmp_path / f".state.{'0' * 32}"
    writing.write_bytes(b"half")
    with open(writing, "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.utime(writing, (0, 0))
        saved("AuditLedger", tmp_path / "state")
        assert writing.exists()


def test_a_save_that_fails_leaves_the_last_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved("MomentState", tmp_path / "state")
    before = (tmp_path / "state").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state_files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        saved("MomentState", tmp_path / "state", steps=9)
    assert (tmp_path / "state").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


SAVING = """
import sys
from tests.states import STATES
print("ready", flush=True)
for state in STATES[sys.argv[1]]():
    state.save(sys.argv[2])
"""


def _killed_while_saving(name: str, path: Path, moments: int) -> None:
    """Kill -9 a process that saves a state again and again, at random moments, and read what is there."""
    rng = np.random.default_rng(0)
    kind = type(after(name, 0))
    read = 0
    for _ in range(moments):
        writer = subprocess.Popen(
            [sys.executable, "-c", SAVING, name, str(path)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        with writer, writer.stdout as said:
            assert said.readline() == b"ready\n"
            time.sleep(float(rng.uniform(0, 0.03)))
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        if path.exists():
            kind.load(path)
            read += 1
    assert read


def _killed_by_its_parent(name: str, path: Path, moments: int) -> int:
    """The same with children of a fork, which start at once; return how often there was a file to read.

    Each is killed so long after its first save was whole, or at once where that was never.
    """
    rng = np.random.default_rng(1)
    kind, read = type(after(name, 0)), 0
    for _ in range(moments):
        ready, say = os.pipe()
        child = os.fork()
        if not child:
            for state in STATES[name]():
                state.save(path)
                os.write(say, b"1")
        os.close(say)
        if moment := rng.random() > 0.1:
            os.read(ready, 1)
        time.sleep(float(rng.exponential(0.006)) * moment)
        os.kill(child, signal.SIGKILL)
        os.close(ready)
        os.waitpid(child, 0)
        if path.exists():
            kind.load(path)
            read += 1
    return read


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("name", STATES)
def test_after_a_kill_at_any_moment_the_last_good_state_is_there(name: str, tmp_path: Path) -> None:
    assert _killed_by_its_parent(name, tmp_path / "state", 8)


@pytest.mark.nightly
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("name", STATES)
def test_after_kills_at_300_moments_the_last_good_state_is_there(name: str, tmp_path: Path) -> None:
    assert _killed_by_its_parent(name, tmp_path / "state", 300)
    for path in tmp_path.iterdir():  # some were killed while they wrote
        os.utime(path, (0, 0))
    after(name, 1).save(tmp_path / "state")
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


@pytest.mark.slow
def test_a_process_of_its_own_that_is_killed_leaves_the_last_good_state(tmp_path: Path) -> None:
    _killed_while_saving("StreamingAttention", tmp_path / "state", 4)
