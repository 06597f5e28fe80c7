"""The message log under the streams: embedded, durable, and Faust's transport over it.

Nothing happens at import. What agents, the relay and the edge use:

Log (``streams.log.store``)::

    log = EmbeddedLog.open(path, fsync="commit"|"os", read_only=False, upkeep_seconds=60.0)   # blocking, ms
    await log.declare(topic, partitions, TopicPolicy(compact=..., retention_seconds=..., retention_bytes=...))
    await log.append(topic, partition, values, keys=None, headers=None) -> int               # first offset
    await log.transact([Batch(topic, partition, keys, values, time, headers)], offsets, group=...) -> [int]
    await log.read(topic, partition, offset, max_records=1000) -> Chunk   # columns; iterate for Record tuples
    log.topics(); log.partitions(topic); log.policy(topic); await log.describe() -> list[TopicInfo]
    log.earliest(topic, partition); log.highwater(topic, partition); log.committed(group, topic, partition)
    await log.upkeep.run_once()                                           # compaction and retention now
    await log.close()

    What an awaited append returned for is durable: fsynced with ``fsync="commit"`` (survives a power cut),
    in the kernel's hands with ``"os"`` (survives ``kill -9`` of the process).

App::

    register()                                        # teaches Faust the scheme embedded://
    app = faust.App("freewill", **faust_settings(data_dir=..., partitions=8, store="memory://"|"rocksdb://"))
    use_log(app, log)                                 # or broker="embedded:///path/to/file"
    await start_app(app)                              # raises what crashed it (PartitionMismatch, ...)
    await stop_app(app, deadline_seconds=10.0) -> bool    # then: await log.close()
    await wait_for_crash(app) -> BaseException        # a lost changelog record, a stalled recovery, ...

Topics and agents::

    topic = sliced_topic(app, name, RecordType, partitions=8, retention_seconds=None, config=None)
    @app.agent(topic, name=...)
    async def agent(stream):
        async for batch in stream:                    # Slice[RecordType]: topic partition records keys
            ...                                       # offsets timestamps headers poison first_/last_offset

    jobs = record_topic(app, name, RecordType, partitions=8)
    @app.agent(jobs, name=...)
    async def worker(stream):
        await work_on(stream, handle, in_flight=2)    # handle(Received) ; ack on return, else redelivered
        # or: async for item in received(stream): ... item.value is RecordType or Poison ... item.ack()

    An exception that leaves a slice's agent ends the worker (``wait_for_crash``), uncommitted: the next
    slice must not overtake it, because the offsets in table values would then skip it for ever. So agents
    retry and dead-letter by themselves. A cancelled slice or event is never acknowledged.

    Poison(offset, key, value, error, timestamp, headers): in ``batch.poison``, or as ``item.value``.
    Topics are declared in the log when the app starts, before agents get events. Topics that no agent
    consumes: ``await topic.declare()``, or ``await log.declare(...)`` before the first publish.

Tables::

    table = declare_table(app, name, StructType, partitions=8, global_=False, help="")
    table.on_recover(async_fn)                        # awaited after recovery, before agents get events
    table.lookup(key) -> StructType | None; table.scan() -> iterator of (key, value); table.count()
    snapshots = Snapshots(folder); snapshots.attach(app)  # before start: recovery loads from them
    await snapshots.write(app, deadline_seconds=None)     # now and then, and after a clean stop
    # values are shared objects on memory://: frozen structs, or copy before changing

Out::

    committer = SliceCommitter(app, log)
    await committer.commit(outputs=[Outgoing(topic, key, value_bytes, partition=None, headers=())],
                           writes=[(table, batch.partition, {key: struct_or_None})])
    await committer.publish(outputs)                  # outside agents; durable when it returns
    log.partition_for(topic, key_bytes) -> int        # the partition a key goes to (murmur2, as Kafka's)

    ``commit`` is one atomic append of outputs and changelog records; the table stores change right after
    it is durable. Source positions follow by acknowledgement: after a crash a slice comes again, cut
    differently, so states carry the offsets applied (DESIGN invariant 1). Two agents that write one table
    must not overlap between ``lookup`` and ``commit``: share a lock.
"""

from streams.log.commit import LogWriter, Outgoing, SliceCommitter, TableWrite
from streams.log.errors import (
    LogClosed,
    LogCorrupt,
    LogError,
    LogLocked,
    LogUnreachable,
    LogWriteFailed,
    PartitionLost,
    PartitionMismatch,
    RecoveryStalled,
    UnknownTopic,
)
from streams.log.lifecycle import raise_if_crashed, start_app, stop_app, wait_for_crash
from streams.log.opening import broker_of, committer_for, open_log, register_transports, shared_log
from streams.log.ports import MessageLog
from streams.log.records import Batch, Chunk, Headers, Record, TopicPartition
from streams.log.settings import faust_settings
from streams.log.slices import Poison, Received, Slice, received, record_topic, sliced_topic, work_on
from streams.log.snapshots import Snapshots
from streams.log.store import EmbeddedLog
from streams.log.tables import StructTable, declare_table, struct_codec
from streams.log.topics import PartitionInfo, TopicInfo, TopicPolicy
from streams.log.transport import register, use_log

__all__ = [
    "Batch",
    "Chunk",
    "EmbeddedLog",
    "Headers",
    "LogClosed",
    "LogCorrupt",
    "LogError",
    "LogLocked",
    "LogUnreachable",
    "LogWriteFailed",
    "LogWriter",
    "MessageLog",
    "Outgoing",
    "PartitionInfo",
    "PartitionLost",
    "PartitionMismatch",
    "Poison",
    "Received",
    "Record",
    "RecoveryStalled",
    "Slice",
    "SliceCommitter",
    "Snapshots",
    "StructTable",
    "TableWrite",
    "TopicInfo",
    "TopicPartition",
    "TopicPolicy",
    "UnknownTopic",
    "broker_of",
    "committer_for",
    "declare_table",
    "faust_settings",
    "open_log",
    "raise_if_crashed",
    "received",
    "record_topic",
    "register",
    "register_transports",
    "shared_log",
    "sliced_topic",
    "start_app",
    "stop_app",
    "struct_codec",
    "use_log",
    "wait_for_crash",
    "work_on",
]
