"""The same platform on Apache Kafka.

``KafkaLog`` is the ``MessageLog`` (``streams.log.ports``), ``KafkaCommitter`` the ``LogWriter``, and the
scheme ``kafka://`` becomes Faust's aiokafka driver with the hardening of ``streams.log.hardening``::

    log = KafkaLog.open("kafka://host:9092", group="freewill")       # connects to nothing yet
    await log.connect()                                               # LogUnreachable when nobody answers
    app = faust.App("freewill", **faust_settings(..., broker=log.url, instance_id="worker-1"))
    use_log(app, log)
    writer = committer_for(app, log)

What Kafka does not give, and what stands in for it (DESIGN invariant 1): outputs, changelog and positions
are three steps instead of one append, each acknowledged before the next. A crash in between repeats a
slice, whose outputs carry their origin and whose states carry the offsets applied.
"""

from streams.log.kafka.commit import KafkaCommitter
from streams.log.kafka.log import KafkaLog

__all__ = ["KafkaCommitter", "KafkaLog"]
