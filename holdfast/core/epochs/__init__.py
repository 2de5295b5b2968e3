"""Acknowledged epochs: a change that holds on the next request of every worker, without I/O there.

Whatever a decision rests on (a user, a session, a role) is a *subject*. The transaction that
changes subjects takes the next number; every worker keeps, for each subject, the number of its
last change, and a short lease. `change()` returns only when each worker has acknowledged the
number, or its lease has run out. A cached decision remembers the number that was noted before it
was read, and holds only while no subject of it has changed since; a worker without a lease asks
before it decides. So a warm decision costs a few array look-ups, and the rare change waits.

Why it is safe without comparing clocks: a worker first publishes its beat, then reads the changes,
and counts its lease from before the beat. Had it missed a number, its beat would have been sent
before that number was committed, so its lease ends within one lease of the commit, which the
changer waits out on its own clock. Two subjects may share a slot: that costs a reload, never a
wrong answer. It does not store what changed: a decision is always read again from its tables.
"""

from holdfast.core.epochs.change import Change, change, touch
from holdfast.core.epochs.lease import EpochsAwayError, Lease
from holdfast.core.epochs.slots import Slots

__all__ = ["Change", "EpochsAwayError", "Lease", "Slots", "change", "touch"]
