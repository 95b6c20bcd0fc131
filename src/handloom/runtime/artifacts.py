"""Typed results: a dataclass whose annotations say which arrays a file holds, each file with a header of what it is.

Arrays are npz archives without pickles, weights are safetensors. Equal content gives equal bytes, so that two runs can
be compared file by file.
"""

import io
import json
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from jaxtyping import jaxtyped
from pydantic import TypeAdapter, ValidationError

from handloom.hand.joints import Side
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_bytes
from handloom.runtime.npz import read_npz
from handloom.runtime.reading import MEGABYTE, reading

if TYPE_CHECKING:
    import torch

_HEADER, _PARTS = "header", "of"
_MOST_WEIGHTS_BYTES = 16_000 * MEGABYTE
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
Loaded = TypeVar("Loaded", bound="Artifact")
_AGAIN = "delete it and run the rule that makes it again"


@dataclass(frozen=True)
class Header:
    """What an artifact holds: kind, units, frame, joint order, and the seed, code and configuration it came from."""

    kind: str
    units: str = ""
    frame: str = ""
    joint_order: str = ""
    seed: int | None = None
    code: str = ""
    config: str = ""
    schema_version: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The header as one line of JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Artifact:
    """The base of what a stage leaves as one npz file: a frozen dataclass whose annotations are the file's contract.

        @dataclass(frozen=True)
        class HandPoses(Artifact, kind="hand_poses", units="m, rad", frame="camera", may_be_nan=("shape",)):
            rotations: Float[np.ndarray, "frames 16 3 3"]
            shape: Float[np.ndarray, " components"]
            side: Literal["right", "left"]

    Arrays (NumPy's, PyTorch's, or None where that is allowed) are checked for presence, type, shape and finiteness,
    named axes for being equally long; `may_be_nan` names those that say "none" by NaN. Everything else is a plain value
    and stands in the header; what a file lacks has its default, if there is one.
    """

    _header: ClassVar[Header]
    _may_be_nan: ClassVar[frozenset[str]]

    def __init_subclass__(
        cls, *, kind: str, units: str = "", frame: str = "", joint_order: str = "", may_be_nan: Sequence[str] = ()
    ) -> None:
        cls._header = Header(kind, units, frame, joint_order)
        cls._may_be_nan = frozenset(may_be_nan)

    def save(self, path: Path, *, seed: int | None = None, code: str = "") -> None:
        """Write the file; raises InputError, naming it, for a value that its annotation does not allow."""
        arrays, values = self._content(path)
        write_arrays(path, arrays, replace(self._header, seed=seed, code=code, extra=values))

    @classmethod
    def save_each(
        cls: type[Loaded], path: Path, parts: Mapping[Side, Loaded], *, seed: int | None = None, code: str = ""
    ) -> None:
        """Write what is of several hands, by their `side`, as one file; of a single hand as `save` writes it.

        What all have alike stands there once; a hand's own array x is named `right.x` or `left.x`, its own values stand
        under `of` in the header. Raises InputError as `save` does.
        """
        if len(parts) == 1:
            return next(iter(parts.values())).save(path, seed=seed, code=code)
        contents = {part: each._content(path) for part, each in parts.items()}
        (arrays, values), *others = contents.values()
        alike = {n: a for n, a in arrays.items() if all(n in o and _equal(o[n], a) for o, _ in others)}
        said = {n: v for n, v in values.items() if all(other[n] == v for _, other in others)}
        written = dict(alike)
        own: dict[str, Any] = {}
        for part, (of_part, told) in contents.items():
            written |= {f"{part}.{name}": array for name, array in of_part.items() if name not in alike}
            own[part] = {name: value for name, value in told.items() if name not in said}
        return write_arrays(path, written, replace(cls._header, seed=seed, code=code, extra={**said, _PARTS: own}))

    def _content(self, path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The checked arrays, and the header's values."""
        arrays, values = {}, {}
        for name, annotation in self._annotations().items():
            value = getattr(self, name)
            if _array_types(annotation):
                if value is not None:
                    arrays[name] = value
            else:
                values[name] = TypeAdapter(annotation).dump_python(value, mode="json")
        self._check(path, "should be written", arrays)
        plain = {
            name: array if isinstance(array, np.ndarray) else array.cpu().numpy() for name, array in arrays.items()
        }
        return plain, values

    @classmethod
    def load(cls: type[Loaded], path: Path) -> Loaded:
        """Read the file.

        Raises InputError when it is missing, damaged or of another kind, and for arrays that are not as annotated.
        """
        arrays, header = read_arrays(path, cls._header.kind, wanted=cls._annotations())
        if parts := header.extra.get(_PARTS):
            raise InputError(
                f"{path}: is of {' and '.join(sorted(parts, reverse=True))}, but one was expected; {_AGAIN}"
            )
        return cls._of(path, arrays, header.extra)

    @classmethod
    def load_each(cls: type[Loaded], path: Path) -> dict[Side, Loaded]:
        """Read what `save_each` wrote, hand by hand, the right one first; raises as `load` does."""
        arrays, header = read_arrays(path, cls._header.kind)
        if _PARTS not in header.extra:
            alone = cls._of(path, arrays, header.extra)
            return {vars(alone)["side"]: alone}
        parts, shared = header.extra[_PARTS], {name: array for name, array in arrays.items() if "." not in name}
        if not isinstance(parts, Mapping) or not all(isinstance(own, Mapping) for own in parts.values()):
            raise InputError(f"{path}: its header's {_PARTS!r} tells of no parts; {_AGAIN}")
        return {
            part: cls._of(
                path,
                shared | {n.removeprefix(f"{part}."): a for n, a in arrays.items() if n.startswith(f"{part}.")},
                {**header.extra, **own},
            )
            for part, own in sorted(parts.items(), reverse=True)
        }

    @classmethod
    def _of(cls: type[Loaded], path: Path, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Loaded:
        annotations = cls._annotations()
        found: dict[str, Any] = {each.name: each.default for each in fields(cls) if each.default not in (MISSING, None)}
        for name, annotation in annotations.items():
            types = _array_types(annotation)
            if name in arrays:
                found[name] = arrays[name] if np.ndarray in types else _tensor(arrays[name])
            elif not types and name in values:
                try:
                    found[name] = TypeAdapter(annotation).validate_python(values[name])
                except ValidationError as error:
                    raise InputError(
                        f"{path}: {name} is {values[name]!r}: {error.errors()[0]['msg']}; {_AGAIN}"
                    ) from None
        lacking = [name for name in annotations if name not in found and not _optional(annotations[name])]
        if lacking:
            raise InputError(f"{path}: lacks {', '.join(lacking)}; {_AGAIN}")
        cls._check(path, "was found", {name: found[name] for name in found if _array_types(annotations[name])})
        return cls(**{name: found.get(name) for name in annotations})

    @classmethod
    def _annotations(cls) -> dict[str, Any]:
        hints = get_type_hints(cls, include_extras=True)  # FiniteFloat and the like keep their bounds
        return {each.name: hints[each.name] for each in fields(cls)}

    @classmethod
    def _check(cls, path: Path, what: str, arrays: Mapping[str, Any]) -> None:
        annotations = cls._annotations()
        with jaxtyped("context"):  # one context: axes of one name are equally long in all arrays
            for name, array in arrays.items():
                if not isinstance(array, annotations[name]):
                    shapes = _shaped(annotations[name])
                    expected = " or ".join(f"{each.dtype.__name__} '{each.dim_str}'" for each in shapes) or "an array"
                    raise InputError(
                        f"{path}: {name} of type {array.dtype} and shape {tuple(array.shape)} {what}, but {expected} "
                        f"was expected; {_AGAIN}"
                    )
        bad = [name for name, array in arrays.items() if name not in cls._may_be_nan and not _finite(array)]
        if bad:
            raise InputError(f"{path}: {', '.join(bad)} holds NaN, but finite numbers were expected; {_AGAIN}")


def _shaped(annotation: Any) -> list[Any]:
    """The jaxtyping annotations in an annotation, which may be a union."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return [part for part in parts if hasattr(part, "dim_str")]


def _array_types(annotation: Any) -> set[Any]:
    """The array classes of an annotation; none for a plain value. Arrays of text are annotated `np.ndarray` alone."""
    return {np.ndarray} if annotation is np.ndarray else {each.array_type for each in _shaped(annotation)}


def _equal(first: np.ndarray, second: np.ndarray) -> bool:
    return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


def _optional(annotation: Any) -> bool:
    return type(None) in get_args(annotation)


def _tensor(array: np.ndarray) -> "torch.Tensor":
    import torch

    return torch.from_numpy(array)


def _finite(array: Any) -> bool:
    if isinstance(array, np.ndarray):
        return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())
    return bool(array.isfinite().all())


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], header: Header) -> None:
    """Write named arrays as a compressed npz archive with fixed time stamps, in sorted order.

    Raises InputError for an object array, which only a pickle could hold.
    """
    path = Path(path)
    objects = [name for name, array in arrays.items() if np.asarray(array).dtype.hasobject]
    if objects or _HEADER in arrays:
        raise InputError(
            f"{path}: arrays {objects or [_HEADER]} refused: an array may hold no objects and not be named '{_HEADER}'"
        )
    members: dict[str, np.ndarray] = {
        _HEADER: np.array(header.to_json()),
        **{name: arrays[name] for name in sorted(arrays)},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in members.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_ZIP_EPOCH)
            archive.writestr(entry, member.getbuffer(), compress_type=zipfile.ZIP_DEFLATED, compresslevel=1)
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path, kind: str, wanted: Collection[str] | None = None) -> tuple[dict[str, np.ndarray], Header]:
    """Read what `write_arrays` wrote, all arrays or the `wanted` ones; the header's kind must be `kind`.

    Raises InputError as `read_npz` does, and when the file is of another kind or of a newer version.
    """
    names = None if wanted is None else {*wanted, _HEADER}
    arrays = read_npz(path, f"a '{kind}' artifact", _AGAIN, wanted=names, absent="run the rule that makes it")
    if _HEADER not in arrays:
        raise InputError(f"{path}: has no header; expected a '{kind}' artifact written by handloom")
    return arrays, checked_header(path, str(arrays.pop(_HEADER)), kind)


def write_weights(path: Path, state: "Mapping[str, torch.Tensor]", header: Header) -> None:
    """Write a state dict as safetensors, its header under the one metadata key `handloom`."""
    from safetensors.torch import save

    # One key only: the order of several metadata keys is not fixed, and equal content must give equal bytes.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_bytes(Path(path), save(tensors, metadata={"handloom": header.to_json()}))


def read_weights(path: Path, kind: str) -> "tuple[dict[str, torch.Tensor], Header]":
    """Read what `write_weights` wrote, onto the CPU.

    Raises InputError as `reading` does, for weights that are not finite, and for another kind or a newer version.
    """
    from safetensors import safe_open

    expected = f"a safetensors file of '{kind}' weights"
    with (
        reading(path, expected, _AGAIN, absent="run the rule that makes it", most_bytes=_MOST_WEIGHTS_BYTES),
        safe_open(path, framework="pt", device="cpu") as file,
    ):
        metadata = file.metadata() or {}
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open cannot be iterated)
    if "handloom" not in metadata:
        raise InputError(f"{path}: has no handloom header; expected '{kind}' weights written by handloom")
    require_finite(path, state)
    return state, checked_header(path, metadata["handloom"], kind)


def require_finite(source: Path | str, state: "Mapping[str, torch.Tensor]") -> None:
    """Raise InputError, naming the first entry, unless all of a network's weights are numbers."""
    numbers = {name: value for name, value in state.items() if value.is_floating_point()}
    # As the single precision that networks compute in: large doubles are infinite there.
    spoilt = [name for name, value in numbers.items() if not bool(value.float().isfinite().all())]
    if spoilt:
        raise InputError(
            f"{source}: {spoilt[0]} holds NaN or infinite weights ({len(spoilt)} of {len(state)} entries do), but "
            "finite ones were expected; fetch or make it again"
        )


def checked_header(path: Path, text: str, kind: str) -> Header:
    """A file's header; raises InputError for values of other types, another kind and a newer version."""
    try:
        header = TypeAdapter(Header).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "text"
        raise InputError(f"{path}: its header cannot be read ({where}: {first['msg']}); {_AGAIN}") from error
    if header.kind != kind:
        raise InputError(
            f"{path}: holds '{header.kind}', but '{kind}' was expected; check which file is named in the configuration"
        )
    if header.schema_version > Header(kind).schema_version:
        raise InputError(
            f"{path}: is of version {header.schema_version}, newer than this handloom can read; update handloom"
        )
    return header
