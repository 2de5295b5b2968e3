"""Make `common.bin`, by which `password_policy` knows common passwords and names.

    pip download --no-deps zxcvbn==4.5.0
    python -m lab.identity.common_passwords zxcvbn-4.5.0-py2.py3-none-any.whl

The lists are those of zxcvbn (MIT; Dan Wheeler, Dropbox and Daniel Wolf): 30,000 passwords of many
thefts, and the first and last names of a census. Each entry is taken for its core, so that a password
which comes down to it is known too. Only the beginnings of their hashes are kept.
"""

import sys
from hashlib import sha256
from importlib import import_module
from pathlib import Path

from holdfast.apps.identity.password_policy.cache import FILE, PREFIX_BYTES, prefix_of
from holdfast.apps.identity.password_policy.rules import SHORTEST_CORE, core

WHEEL = "2b6eed621612ce6d65e6e4c7455b966acee87d0280e257956b1f06ccc66bd5ff"
LISTS = ("passwords", "male_names", "female_names", "surnames")


def main(wheel: Path) -> None:
    if sha256(wheel.read_bytes()).hexdigest() != WHEEL:
        sys.exit(f"{wheel} is not the package that the file was made from.")
    sys.path.insert(0, str(wheel))
    lists = import_module("zxcvbn.frequency_lists").FREQUENCY_LISTS
    cores = {core(entry) for name in LISTS for entry in lists[name]}
    prefixes = sorted({prefix_of(each) for each in cores if len(each) >= SHORTEST_CORE})
    FILE.write_bytes(b"".join(prefixes))
    mistaken_for = 256**PREFIX_BYTES // len(prefixes)
    print(f"{len(prefixes)} cores; one in {mistaken_for} other passwords is taken for one of them")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
