"""The worker's memory of changes: for each slot the number of its last change. No I/O."""

from array import array
from collections.abc import Iterable
from zlib import crc32

SIZE = 1 << 16


class Slots:
    """What this worker has noted, up to and including the change `noted`."""

    def __init__(self) -> None:
        self.noted = 0
        self._last = array("Q", bytes(8 * SIZE))

    @staticmethod
    def of(*subjects: str) -> tuple[int, ...]:
        """The slots of some subjects; the same in every process, unlike `hash`."""
        return tuple(crc32(subject.encode()) % SIZE for subject in subjects)

    def unchanged(self, slots: tuple[int, ...], since: int) -> bool:
        """Whether none of the slots has changed after the number that was noted then."""
        if since > self.noted:
            return False  # noted elsewhere, by a worker that is ahead of this one
        last = self._last
        for slot in slots:  # noqa: SIM110 - every request runs this, and all() costs twice as much
            if last[slot] > since:
                return False
        return True

    def note(self, number: int, subjects: Iterable[str]) -> None:
        for slot in self.of(*subjects):
            self._last[slot] = number
        self.noted = number

    def forget(self, number: int) -> None:
        """Changes up to a number were missed: nothing that was read before it holds."""
        self._last = array("Q", [number]) * SIZE
        self.noted = number
