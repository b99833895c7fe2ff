"""The target of the console script ``absa``.

Stands outside the packages ``absa`` and ``cluster`` so that it can tell when Python would take
somebody else's package of that name: ``cluster`` is a common one.
"""

import importlib.util
import sys
from pathlib import Path

_PACKAGES = ("absa", "cluster")


def main() -> None:
    """Run the command line, unless another package stands in the way of ours."""
    problem = next(filter(None, map(_shadowed, _PACKAGES)), None)
    if problem is not None:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    if not sys.flags.safe_path and str(Path.cwd()) not in sys.path:
        # A console script does not look in the current folder, where a user's own task lies. At the
        # end, so that nothing in it can stand in the way of an installed package.
        sys.path.append(str(Path.cwd()))
    from cluster.cli import main as run

    run()


def _shadowed(package: str) -> str | None:
    """Return what is wrong if ``import package`` would not give the one beside this file."""
    ours = Path(__file__).resolve().parent / package / "__init__.py"
    spec = importlib.util.find_spec(package)
    if spec is None:
        return (
            f"absa's own package '{package}' is missing in {ours.parent.parent}: install it again"
        )
    # A folder without __init__.py has no origin, only locations.
    found = [spec.origin] if spec.origin else list(spec.submodule_search_locations or [])
    if found and Path(found[0]).resolve() == ours:
        return None
    where = Path(found[0]) if found else Path(package)
    other = where.parent if where.name == "__init__.py" else where
    return (
        f"{other} stands in the way of absa's own package '{package}'\n"
        f"  Python would import it instead of {ours.parent}.\n"
        f"  Rename it, or run absa from another folder, or take {other.parent} out of PYTHONPATH."
    )


if __name__ == "__main__":
    main()
