"""What the fuzzer runs on bytes: ``python -m tests.fuzz.target TARGET [FILE or options of libFuzzer]``."""

import dataclasses
import hashlib
import io
import re
import sys
import tempfile
import traceback
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import atheris
import numpy as np

with atheris.instrument_imports(include=["fastpath", "proofs.judging", "proofs.attack"]):
    import fastpath
    from proofs.attack.registry import ATTACKS
    from proofs.attack.search import BrokenError
    from proofs.judging.heads import InputError, read_file

from tests.states import STATES, after

warnings.simplefilter("ignore")
np.seterr(all="ignore")

FOLDER = Path(tempfile.mkdtemp())


def _whole() -> dict[str, bytes]:
    """Return a sound file of every kind."""
    from safetensors.numpy import save

    heads = {f"h/{role}": np.arange(6, dtype=np.float32).reshape(3, 2) for role in "QKV"}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **heads)
    found = {"npz": buffer.getvalue(), "safetensors": save(heads)}
    for name in STATES:
        after(name, 3).save(FOLDER / "state")
        found[name] = (FOLDER / "state").read_bytes()[:-32]
    return found


WHOLE = _whole()


def _edited(data: atheris.FuzzedDataProvider, whole: bytes) -> bytes:
    """Change bytes of a file: here and there, or in an archive's members, which is then packed anew."""
    if data.ConsumeBool() and whole[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        for _ in range(data.ConsumeIntInRange(1, 3)):
            name = sorted(members)[data.ConsumeIntInRange(0, len(members) - 1)]
            kind = data.ConsumeIntInRange(0, 3)
            if kind == 0 and len(members) > 1:
                del members[name]
            elif kind == 1:
                members["x" + data.ConsumeUnicodeNoSurrogates(12)] = members[name]
            else:
                members[name] = _changed(data, members[name])
        buffer = io.BytesIO()
        method = zipfile.ZIP_DEFLATED if data.ConsumeIntInRange(0, 7) == 0 else zipfile.ZIP_STORED
        with zipfile.ZipFile(buffer, "w", method) as archive, suppress(ValueError, OSError):
            for name, content in members.items():
                archive.writestr(name, content)
        return buffer.getvalue()
    return _changed(data, whole)


def _changed(data: atheris.FuzzedDataProvider, content: bytes) -> bytes:
    for _ in range(data.ConsumeIntInRange(1, 4)):
        place = data.ConsumeIntInRange(0, len(content))
        cut = data.ConsumeIntInRange(0, 8)
        content = content[:place] + data.ConsumeBytes(8) + content[place + cut :]
    return content


def _sentence(error: Exception) -> None:
    """Accept a refusal by the code under test if it is a sentence, and whatever an attack itself raises."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    ours = [name for name in files if re.search(r"/(fastpath|proofs)/", name)]
    by_attack = "/attack/" in ours[-1] if ours else True
    if not by_attack and not re.fullmatch(r"[\w|-].{10,}\.", str(error), re.DOTALL):
        whole = "".join(traceback.format_exception(error))
        raise AssertionError(f"refused without a sentence: {whole}") from error


def _not_by_the_code(error: Exception) -> None:
    """Raise what the code under test raised; an attack counts on arrays that fit each other."""
    if any("/fastpath/" in frame.filename for frame in traceback.extract_tb(error.__traceback__)):
        raise error


def containers(content: bytes) -> None:
    """Read a file of heads and matrices."""
    data = atheris.FuzzedDataProvider(content)
    suffix = ("npz", "safetensors")[data.ConsumeIntInRange(0, 1)]
    whole = _edited(data, WHOLE[suffix]) if data.ConsumeBool() else data.ConsumeBytes(4096)
    path = FOLDER / f"file.{suffix}"
    path.write_bytes(whole)
    try:
        found = read_file(path)
    except InputError as error:
        _sentence(error)
        return
    for head in found.heads:
        assert all(np.isfinite(x).all() for x in (head.Q, head.K, head.V))
    for matrix in found.matrices:
        assert np.isfinite(matrix.X).all()


def states(content: bytes) -> None:
    """Read a state whose digest is right, ask it, and save it."""
    data = atheris.FuzzedDataProvider(content)
    name = sorted(STATES)[data.ConsumeIntInRange(0, len(STATES) - 1)]
    whole = _edited(data, WHOLE[name])
    sealed = data.ConsumeIntInRange(0, 15) > 0
    path = FOLDER / "state"
    path.write_bytes(whole + (hashlib.sha256(whole).digest() if sealed else b""))
    kind = getattr(fastpath, name.partition(",")[0])
    try:
        state = kind.load(path)
    except ValueError as error:
        _sentence(error)
        return
    state.save(FOLDER / "again")
    kind.load(FOLDER / "again")


#: Numbers as their bits: where formats end, and what is none.
_SPECIAL = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    5e-324,
    1e-45,
    1e-38,
    3e38,
    1.7e308,
    -1e300,
    2.0**-126,
    np.inf,
    -np.inf,
    np.nan,
)


def calls(content: bytes) -> None:
    """Call a public function on input that was drawn and then changed."""
    data = atheris.FuzzedDataProvider(content)
    name = sorted(ATTACKS)[data.ConsumeIntInRange(0, len(ATTACKS) - 1)]
    attack = ATTACKS[name]
    instance = attack.sample(np.random.default_rng(data.ConsumeIntInRange(0, 2**32 - 1)))
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and data.ConsumeBool():
            value = value.copy()
            for _ in range(data.ConsumeIntInRange(1, 3)):
                place = data.ConsumeIntInRange(0, value.size - 1)
                number = (
                    _SPECIAL[data.ConsumeIntInRange(0, len(_SPECIAL) - 1)]
                    if data.ConsumeBool()
                    else data.ConsumeFloat()
                )
                value.flat[place] = number
            shape = data.ConsumeIntInRange(0, 15)
            value = {1: value.T, 2: value[:1], 3: value[..., :1], 4: value[None]}.get(shape, value)
            if shape == 5:
                value = np.asfortranarray(value)
            value.flags.writeable = shape != 6
            changed[field.name] = value
        elif isinstance(value, float) and data.ConsumeBool():
            changed[field.name] = data.ConsumeFloat()
        elif isinstance(value, int) and data.ConsumeBool():
            changed[field.name] = data.ConsumeIntInRange(0, 300)
    instance = dataclasses.replace(instance, **changed)
    held = {
        f.name: getattr(instance, f.name).tobytes()
        for f in dataclasses.fields(instance)
        if isinstance(getattr(instance, f.name), np.ndarray)
    }
    try:
        for statement in attack.statements(fastpath, instance):
            assert not np.isnan(np.asarray(statement.bound)).any(), (name, statement.what)
    except (ValueError, TypeError) as error:
        _sentence(error)
    except BrokenError as error:
        raise AssertionError(f"{name}: {error}") from error
    except AssertionError:
        raise
    except Exception as error:
        _not_by_the_code(error)
    for array, before in held.items():
        assert getattr(instance, array).tobytes() == before, (name, array)


def main() -> None:
    target: Callable[[bytes], None] = globals()[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
