"""Nothing but the hash: how many passwords a second so many threads can check, and no more.

`python -m lab.peers.bare_hash THREADS SECONDS` prints that number. The same library and
parameters as `holdfast.apps.identity.passwords`; threads, because it releases the GIL.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from argon2 import PasswordHasher

PASSWORD = "correct horse battery staple"  # noqa: S105 - nobody's


def main(threads: int, seconds: float) -> float:
    hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
    stored = hasher.hash(PASSWORD)
    until = perf_counter() + seconds

    def check() -> int:
        checked = 0
        while perf_counter() < until:
            hasher.verify(stored, PASSWORD)
            checked += 1
        return checked

    began = perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        checked = sum(job.result() for job in [pool.submit(check) for _ in range(threads)])
    return checked / (perf_counter() - began)


if __name__ == "__main__":
    print(main(int(sys.argv[1]), float(sys.argv[2])))
