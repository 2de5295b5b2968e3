"""Streams: events of another service, applied in one's own database, each exactly once.

The other service's relay sends at least once, not always in order, and sends seven days again when
the broker has lost them. A `Consumer` applies a batch in one transaction with the position that it
reached and the ids of its events, so that a crash leaves all of it or nothing. So the position is
kept here and not by the broker. Any number of processes may consume: whoever moves the position
first has the batch.

An event whose handler fails must neither stop the others nor be lost. Its batch is tried again one
by one; what fails alone is set aside with its error, counted, and tried again every minute for four
weeks: its cause may be gone by then, or a release may have mended it. So a handler sees events late
and out of order, and must bear it.

A stream is not a queue of work: other services read the same one, and nothing is removed from it.
"""

from holdfast.core.streams.consumer import Consumer, Handler, consume_for_ever
from holdfast.core.streams.queries import Event

__all__ = ["Consumer", "Event", "Handler", "consume_for_ever"]
