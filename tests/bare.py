"""Run a module as on a bare GPU machine: `python -m tests.bare MODULE ARGUMENTS`.

There are PyTorch, Triton, NumPy, pytest and what these need themselves; everything else that is
installed here cannot be imported.
"""

import runpy
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_OURS = {"fishs2", "benchmarks", "tests"}
_THERE = {"torch", "torchgen", "functorch", "triton", "numpy", "pytest", "_pytest"}
_NEEDED = {
    *("typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "filelock"),
    *("fsspec", "setuptools", "pkg_resources", "_distutils_hack", "nvidia"),
    *("pluggy", "iniconfig", "packaging", "pygments", "py", "exceptiongroup", "tomli"),
}
_KNOWN = frozenset({*_OURS, *_THERE, *_NEEDED, *sys.stdlib_module_names})


class Absent(MetaPathFinder):
    """Finds nothing of what a bare machine has not."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in _KNOWN and path is None:
            raise ModuleNotFoundError(f"a bare machine has no {fullname}", name=fullname)
        return None


if __name__ == "__main__":
    sys.meta_path.insert(0, Absent())
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
