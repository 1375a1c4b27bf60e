"""`python -m benchmarks NAME [options]` runs the measurement of that name in this package.

Without a name it is `compare`: this project beside its peers.
"""

import importlib
import pkgutil
import sys

import benchmarks

COMPARISON = "compare"


def main() -> int:
    """Run the named measurement, or list them."""
    modules = pkgutil.iter_modules(benchmarks.__path__)
    names = sorted(module.name for module in modules if module.name[0] != "_" and not module.ispkg)
    name, arguments = COMPARISON, sys.argv[1:]
    if arguments and not arguments[0].startswith("-"):
        name, *arguments = arguments
    if name not in names:
        print(f"usage: python -m benchmarks [{{{','.join(names)}}}] [options]", file=sys.stderr)
        return 2
    module = importlib.import_module(f"benchmarks.{name}")
    return int(module.main(arguments) or 0)


if __name__ == "__main__":
    sys.exit(main())
