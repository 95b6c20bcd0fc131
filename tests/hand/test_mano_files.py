"""The user's MANO files come in without chumpy, and nothing in them is run."""

import builtins
import os
import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.sparse
import torch

from handloom.__main__ import main
from handloom.hand.joints import MANO_PARENTS
from handloom.hand.mano import rest_joints_m, skin
from handloom.hand.mano_files import convert_mano, read_mano_pickle
from handloom.hand.models import read_hand_model
from handloom.runtime.errors import InputError
from handloom.runtime.pickles import load_pickle


@pytest.fixture
def chumpy():
    """Modules that look like chumpy to pickle, while the files are written; gone before they are read."""

    class Ch:
        def __init__(self, x):
            self.x = x
            self._dirty_vars = {"x"}
            self._itr = None

    class Select:
        def __init__(self, a, idxs, preferred_shape):
            self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape

    modules = {name: ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    for kind, module in ((Ch, "chumpy.ch"), (Select, "chumpy.reordering")):
        kind.__module__, kind.__qualname__ = module, kind.__name__
        setattr(modules[module], kind.__name__, kind)
    sys.modules.update(modules)
    modules["chumpy"].Ch, modules["chumpy"].Select = Ch, Select
    yield modules["chumpy"]
    for name in modules:
        sys.modules.pop(name, None)


def _hand(seed: int, left: bool = False) -> dict[str, np.ndarray]:
    """A random thing of MANO's shape; the left one is a mirror image but for its shape directions, as published."""
    random = np.random.default_rng(seed)
    flip = np.array([-1.0, 1.0, 1.0]) if left else np.ones(3)
    weights, regressor = random.random((778, 16)), random.random((16, 778)) * (random.random((16, 778)) < 0.02)
    regressor[:, 0] += 0.1
    return {
        "v_template": 0.05 * random.normal(size=(778, 3)) * flip,
        "shapedirs": 0.002 * random.normal(size=(778, 3, 10)),
        "posedirs": 0.001 * random.normal(size=(778, 3, 135)),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "f": random.integers(0, 778, (1538, 3)).astype(np.uint32),
        "kintree_table": np.stack([MANO_PARENTS, np.arange(16)]).astype(np.uint32),
        "hands_mean": random.normal(size=45),
        "hands_components": random.normal(size=(45, 45)),
    }


def _as_published(chumpy, arrays: dict[str, np.ndarray]) -> dict[str, object]:
    """The arrays as MANO's files hold them: chumpy objects, a sparse matrix, and entries nobody needs."""
    shapes = arrays["shapedirs"]
    wider = np.concatenate([shapes, np.ones_like(shapes)], axis=-1)
    chosen = np.arange(wider.size).reshape(wider.shape)[..., : shapes.shape[-1]]
    return {
        **arrays,
        "v_template": chumpy.Ch(arrays["v_template"]),
        "shapedirs": chumpy.Select(chumpy.Ch(wider), chosen.ravel(), shapes.shape),
        "J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"]),
        "bs_style": "lbs",
        "hands_coeffs": np.zeros((3, 45)),
    }


def _write(path: Path, content: object, protocol: int) -> None:
    """Pickle as Python 2 with an old scipy would have: its module was then scipy.sparse.csc."""
    written = pickle.dumps(content, protocol)
    if protocol < 4:
        written = written.replace(b"cscipy.sparse._csc\ncsc_matrix\n", b"cscipy.sparse.csc\ncsc_matrix\n")
    path.write_bytes(written)


@pytest.fixture
def published(tmp_path, chumpy):
    hands = {"RIGHT": _hand(0), "LEFT": _hand(0, left=True)}
    for side, arrays in hands.items():
        _write(tmp_path / f"MANO_{side}.pkl", _as_published(chumpy, arrays), protocol=2)
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        del sys.modules[name]
    return tmp_path, hands


def converted(folder, output, **options):
    pickles = folder / "MANO_RIGHT.pkl", folder / "MANO_LEFT.pkl"
    convert_mano(*pickles, output / "mano_right.npz", output / "mano_left.npz", **options)


def hand_of(folder, side):
    return read_hand_model(folder / f"mano_{side}.npz")[0]


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_chumpy_objects_are_read_without_chumpy(tmp_path, chumpy, protocol):
    arrays = _hand(0)
    _write(tmp_path / "MANO_RIGHT.pkl", _as_published(chumpy, arrays), protocol)
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        del sys.modules[name]
    read = read_mano_pickle(tmp_path / "MANO_RIGHT.pkl")
    assert not any(name.startswith("chumpy") for name in sys.modules)
    for name, array in arrays.items():
        np.testing.assert_allclose(read[name], array, atol=1e-15, err_msg=name)


def test_converted_hands_are_skinned(published, tmp_path):
    folder, hands = published
    converted(folder, tmp_path / "converted")
    for side in ("right", "left"):
        model = hand_of(tmp_path / "converted", side)
        assert model.side == side
        arrays = hands[side.upper()]
        expected = arrays["J_regressor"] @ arrays["v_template"]
        rest = rest_joints_m(model, torch.zeros(10)).numpy()
        np.testing.assert_allclose(rest, expected, atol=1e-6)
        hand = skin(model, pose_rotvec=torch.zeros(2, 16, 3), shape=torch.zeros(2, 10), translation_m=torch.zeros(2, 3))
        assert hand.vertices_m.shape == (2, 778, 3)
        tips = arrays["v_template"][[744, 320, 443, 554, 671]]
        np.testing.assert_allclose(hand.keypoints_m[0, [4, 8, 12, 16, 20]].numpy(), tips, atol=1e-6)


def test_left_shapes_are_mirrored_unless_the_file_is_wanted_as_it_is(published, tmp_path):
    folder, hands = published
    converted(folder, tmp_path / "fixed")
    converted(folder, tmp_path / "as_published", fix_left_shapes=False)
    right = torch.from_numpy(hands["RIGHT"]["shapedirs"]).float()
    flip = torch.tensor([-1.0, 1.0, 1.0])[:, None]
    torch.testing.assert_close(hand_of(tmp_path / "fixed", "left").shapedirs, right * flip)
    torch.testing.assert_close(hand_of(tmp_path / "fixed", "right").shapedirs, right)
    torch.testing.assert_close(hand_of(tmp_path / "as_published", "left").shapedirs, right)


def test_a_left_hand_that_is_mirrored_already_stays(tmp_path, chumpy):
    right, left = _hand(0), _hand(0, left=True)
    left["shapedirs"] = right["shapedirs"] * np.array([-1.0, 1.0, 1.0])[:, None]
    for side, arrays in (("RIGHT", right), ("LEFT", left)):
        _write(tmp_path / f"MANO_{side}.pkl", _as_published(chumpy, arrays), protocol=2)
    converted(tmp_path, tmp_path / "converted")
    shapes = hand_of(tmp_path / "converted", "left").shapedirs
    torch.testing.assert_close(shapes, torch.from_numpy(left["shapedirs"]).float())


def test_equal_files_give_equal_bytes(published, tmp_path):
    folder, _ = published
    converted(folder, tmp_path / "one")
    converted(folder, tmp_path / "two")
    for name in ("mano_right.npz", "mano_left.npz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


class _Attack:
    """Runs `call(*arguments)` in whoever unpickles it trustingly."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def _attacks(trace: Path) -> dict[str, object]:
    code = f"open({str(trace)!r}, 'w')"
    attack = _Attack(os.system, f"touch {trace}")
    return {
        "os.system": attack,
        "eval": _Attack(builtins.eval, code),
        "nested in containers": {"deep": [({"er": attack},)]},
        "memoised": [attack, attack, {"again": attack}],
        "getattr": _Attack(builtins.getattr, "x", "upper"),
    }


@pytest.mark.parametrize("protocol", [0, 4])
@pytest.mark.parametrize("attack", _attacks(Path("trace")))
@pytest.mark.parametrize("place", ["whole", "entry", "inside chumpy"])
def test_a_malicious_file_runs_nothing(tmp_path, chumpy, protocol, attack, place):
    trace = tmp_path / "trace"
    payload = _attacks(trace)[attack]
    content = {
        "whole": payload,
        "entry": {"v_template": chumpy.Ch(np.zeros((778, 3))), "bs_type": payload},
        "inside chumpy": {"v_template": chumpy.Ch(payload)},
    }[place]
    _write(tmp_path / "MANO_RIGHT.pkl", content, protocol)
    with pytest.raises(InputError, match=r"MANO_RIGHT\.pkl: .*not allowed"):
        read_mano_pickle(tmp_path / "MANO_RIGHT.pkl")
    assert not trace.exists()


def _assembled(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


def _text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


_STACK_GLOBAL, _REDUCE, _TUPLE1, _MEMOIZE, _BUILD, _POP = b"\x93", b"R", b"\x85", b"\x94", b"b", b"0"


@pytest.mark.parametrize(
    "crafted",
    [
        _assembled(_text("os"), _text("system"), _STACK_GLOBAL, _text("touch trace"), _TUPLE1, _REDUCE),
        # names put into the memo first, fetched later: h\x00 is BINGET 0
        _assembled(
            _text("posix"), _MEMOIZE, _POP, _text("system"), _MEMOIZE, _POP, b"h\x00h\x01", _STACK_GLOBAL,
            _text("touch trace"), _TUPLE1, _REDUCE,
        ),
        _assembled(_text("numpy"), _text("ndarray.__class__"), _STACK_GLOBAL),
        _assembled(_text("chumpy.ch"), _text("Ch.__init__.__globals__"), _STACK_GLOBAL),
        _assembled(_text("builtins"), _text("object.__subclasses__"), _STACK_GLOBAL),
        # _reconstructor(set, object, None): only chumpy's and scipy's records may be rebuilt
        b"ccopy_reg\n_reconstructor\n(c__builtin__\nset\nc__builtin__\nobject\nNtR.",
        b"(S'touch trace'\nios\nsystem\n.",
        b"cos\nsystem\n(S'touch trace'\ntR.",
    ],
)  # fmt: skip
def test_crafted_bytes_run_nothing(tmp_path, monkeypatch, crafted):
    monkeypatch.chdir(tmp_path)
    Path("MANO_RIGHT.pkl").write_bytes(crafted)
    with pytest.raises(InputError, match="MANO_RIGHT"):
        read_mano_pickle(Path("MANO_RIGHT.pkl"))
    assert not Path("trace").exists()


def test_a_file_cannot_change_what_the_next_one_meets(published, tmp_path):
    """BUILD with a slot state sets attributes: on the class that it is given, which must not be shared."""
    set_attribute = _assembled(
        _text("chumpy.ch"), _text("Ch"), _STACK_GLOBAL, b"N}", _text("state"), _text("changed"), b"s\x86", _BUILD
    )
    (tmp_path / "bad.pkl").write_bytes(set_attribute)
    with pytest.raises(InputError):
        read_mano_pickle(tmp_path / "bad.pkl")
    folder, hands = published
    read = read_mano_pickle(folder / "MANO_RIGHT.pkl")
    np.testing.assert_allclose(read["v_template"], hands["RIGHT"]["v_template"])


def test_rhd_annotations_are_plain_arrays_and_nothing_else(tmp_path, chumpy):
    """Other readers do not even get the records of MANO's classes."""
    labels = {0: {"uv_vis": np.ones((42, 3)), "xyz": np.zeros((42, 3)), "K": np.eye(3)}}
    _write(tmp_path / "anno_training.pickle", labels, protocol=2)
    np.testing.assert_array_equal(load_pickle(tmp_path / "anno_training.pickle")[0]["K"], np.eye(3))
    _write(tmp_path / "anno_training.pickle", {0: chumpy.Ch(np.eye(3))}, protocol=2)
    with pytest.raises(InputError, match=r"chumpy\.ch\.Ch, which is not allowed"):
        load_pickle(tmp_path / "anno_training.pickle")


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_named(published, kept):
    folder, _ = published
    path = folder / "MANO_RIGHT.pkl"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InputError, match=r"MANO_RIGHT\.pkl: .*fetch it again"):
        converted(folder, folder / "converted")
    assert not (folder / "converted").exists()


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("v_template", np.zeros((777, 3)), r"v_template is float64 of shape \(777, 3\)"),
        ("weights", np.full((778, 16), np.nan), "finite numbers"),
        ("J_regressor", "text", "J_regressor is object"),
        ("kintree_table", np.zeros((2, 16), dtype=np.int64), "MANO's tree"),
        ("f", np.full((1538, 3), 778), "f names vertices from 778 to 778"),
        ("posedirs", None, "posedirs is object"),
    ],
)
def test_a_file_that_is_no_mano_hand_is_refused(tmp_path, name, value, complaint):
    _write(tmp_path / "MANO_RIGHT.pkl", {**_hand(0), name: value}, protocol=2)
    with pytest.raises(InputError, match=complaint):
        read_mano_pickle(tmp_path / "MANO_RIGHT.pkl")


def test_a_missing_array_or_file_is_named(tmp_path):
    arrays = _hand(0)
    del arrays["hands_mean"]
    _write(tmp_path / "MANO_RIGHT.pkl", arrays, protocol=2)
    with pytest.raises(InputError, match=r"lacks \['hands_mean'\]"):
        read_mano_pickle(tmp_path / "MANO_RIGHT.pkl")
    with pytest.raises(InputError, match=r"MANO_LEFT\.pkl: no such file"):
        read_mano_pickle(tmp_path / "MANO_LEFT.pkl")


def test_selection_beyond_its_array_is_refused(tmp_path, chumpy):
    arrays = _hand(0)
    broken = chumpy.Select(chumpy.Ch(np.zeros(10)), np.array([11]), (1,))
    _write(tmp_path / "MANO_RIGHT.pkl", {**arrays, "hands_mean": broken}, protocol=2)
    with pytest.raises(InputError, match="hands_mean cannot be put together"):
        read_mano_pickle(tmp_path / "MANO_RIGHT.pkl")


def test_the_command_line_converts_and_says_what_is_missing(published, tmp_path, capsys):
    folder, _ = published
    assert main(["convert-mano", str(folder), str(tmp_path / "by_command")]) == 0
    assert hand_of(tmp_path / "by_command", "left").side == "left"
    assert main(["convert-mano", str(tmp_path / "nowhere"), str(tmp_path / "nothing")]) == 1
    assert "MANO_RIGHT.pkl" in capsys.readouterr().err


def _regressor_with(**parts: object) -> scipy.sparse.csc_matrix:
    """A sparse joint regressor whose parts are not what they should be, as a file may hold them."""
    matrix = scipy.sparse.csc_matrix(_hand(0)["J_regressor"])
    for name, value in parts.items():
        if callable(value):
            value(getattr(matrix, name))
        else:
            matrix.__dict__[name] = value
    return matrix


def _put(index: int, value: float):
    def put(array: np.ndarray) -> None:
        array[index] = value

    return put


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"indices": _put(5, 2_000_000_000)}, "indices names row 2000000000 of 16"),
        ({"indices": _put(5, -5)}, "indices is int32 .*expected a list of indices from 0 on"),
        ({"indptr": _put(-1, 10**9)}, "indptr ends at 1000000000, but there are"),
        ({"indptr": _put(3, 10**9)}, "indptr has 779 pointers, expected 779 that rise from 0"),
        ({"indptr": _put(0, 1)}, "indptr has 779 pointers, expected 779 that rise from 0"),
        ({"indptr": np.arange(3)}, "indptr has 3 pointers"),
        ({"indptr": np.zeros((779, 1), int)}, "indptr is int64 of shape"),
        ({"indices": np.zeros(2, int)}, "indptr ends at 287, but there are 2 indices"),
        ({"indices": np.zeros(2)}, "indices is float64"),
        ({"data": np.array(["a"])}, "<U1 of shape"),
        ({"_shape": (16, 10**9)}, r"float64 .* for a matrix of shape \(16, 1000000000\)"),
        ({"_shape": None}, "float64 .* for a matrix of shape None"),
    ],
)
def test_native_code_follows_no_index_of_a_file(tmp_path, parts, words):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({**_hand(0), "J_regressor": _regressor_with(**parts)}, 2))
    with pytest.raises(InputError, match=rf"a\.pkl: J_regressor cannot be put together \({words}"):
        read_mano_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize(("factor", "unit"), [(300, "millimetres"), (30, "centimetres"), (0.001, "")])
def test_a_hand_in_another_unit_is_refused(tmp_path, factor, unit):
    hand = _hand(0)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({**hand, "v_template": factor * hand["v_template"]}))
    with pytest.raises(InputError, match=rf"a\.pkl: the diagonal of the hand at rest is .*{unit}"):
        read_mano_pickle(tmp_path / "a.pkl")
