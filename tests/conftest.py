"""Settings of the whole test session."""

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))  # tests of the tools, and of what the tools render

if TYPE_CHECKING:
    from rendered_pair import Filmed

    from .own_pair import OwnPair


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tests' tensors are small: one thread is fastest, and leaves the other cores to the other workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def filmed() -> "Filmed":
    """The truth of two videos of 30 and 25 frames a second; the right clock is 0.4 s ahead."""
    from .own_pair import filmed_pair  # the renderer is slow to import, and few tests need it

    return filmed_pair()


@pytest.fixture
def own_pair(tmp_path: Path, filmed: "Filmed") -> "OwnPair":
    """Frames of both views, and hands in them."""
    from .own_pair import written_pair

    return written_pair(tmp_path, filmed)


@pytest.fixture(scope="session")
def posed_pair(tmp_path_factory: pytest.TempPathFactory, filmed: "Filmed") -> "OwnPair":
    """A camera pair that all stages have gone through, to be looked at and not to be changed."""
    from .own_pair import written_pair

    pair = written_pair(tmp_path_factory.mktemp("posed"), filmed)
    for stage in (pair.pair, pair.rotate, pair.crop, pair.adapt, pair.fuse):
        stage()
    return pair


@pytest.fixture
def small_disk() -> Callable[[int], AbstractContextManager[None]]:
    """A block in which no file may be larger than so many bytes: a full disk, as far as a writer can tell."""

    @contextmanager
    def limited(largest: int) -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited
