"""What is in a buffer when a recovery resumes stays there (invariants 1 and 3)."""

from types import SimpleNamespace

from mode.utils.queues import ThrowableQueue

from streams.log import use_log


def a_queue():
    app = SimpleNamespace()
    use_log(app, log=None)
    return app.flow_control, ThrowableQueue(4, flow_control=app.flow_control, clear_on_resume=True)


def test_buffer_is_kept_when_flow_resumes_again():
    """Faust's resumes up to four times in a recovery, and emptied every buffer each time."""
    flow, queue = a_queue()
    flow.resume()
    queue.put_nowait("chunk")
    flow.resume()
    assert flow.is_active()
    assert queue.get_nowait() == "chunk"


def test_buffer_is_emptied_when_a_rebalance_begins():
    flow, queue = a_queue()
    flow.resume()
    queue.put_nowait("of the former assignment")
    flow.suspend()
    flow.clear()
    assert not flow.is_active()
    flow.resume()
    assert queue.empty()
