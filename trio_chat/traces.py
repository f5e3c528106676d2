"""What took how long, for OpenTelemetry, where somebody wants to know.

1. Whoever may be traced has a `Traces | None`. None, the default, costs one comparison where a span would begin.
2. The packages of the extra `otel` are imported when tracing is switched on, and never otherwise.
3. A span names rooms, as the log does. What a foreign exception says may quote people: of it a span
   has the kind and the places only.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio
from typing_extensions import override

from trio_chat.errors import SettingsError
from trio_chat.failures import explain

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping

    from opentelemetry.trace import Span, Tracer

    from trio_chat.settings import Settings

logger = logging.getLogger(__name__)

# How long the end may take to send what was gathered.
_FLUSH_SECONDS: Final = 3.0
_MISSING: Final = "OTEL_TRACES=on: expected the packages of the extra: pip install 'trio-chat[otel]'"

Attributes: TypeAlias = "Mapping[str, str | int | float | bool]"


class Traces:
    """Begins spans. Lives as long as the server.

    Args:
        tracer: of OpenTelemetry; it makes a span nobody wants cheap.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @override
    def __repr__(self) -> str:
        return f"<Traces {type(self._tracer).__name__}>"

    @contextmanager
    def span(self, name: str, attributes: Attributes | None = None) -> Generator[None, None, None]:
        """Trace a block, and what is traced within, as its children. It fails with whatever the block raises."""
        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except Exception as failure:
                _fail(span, failure)
                raise

    def until(self, name: str, attributes: Attributes, done: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return what calls `done`, and ends a span that begins now. An exception it is told is a failure."""
        span = self._tracer.start_span(name, attributes=attributes)

        def end(outcome: Any) -> None:
            if isinstance(outcome, Exception):
                _fail(span, outcome)
            span.end()
            done(outcome)

        return end


def span(
    traces: Traces | None, name: str, attributes: Attributes | None = None
) -> AbstractContextManager[None]:
    """Trace a block if anybody wants that."""
    return nullcontext() if traces is None else traces.span(name, attributes)


def _fail(span: Span, failure: Exception) -> None:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - there is no span without it

    span.set_attribute("error.type", type(failure).__qualname__)
    span.set_status(Status(StatusCode.ERROR, explain(failure)))


@asynccontextmanager
async def open_traces(settings: Settings) -> AsyncGenerator[Traces | None, None]:
    """Send spans, while the block runs, where the `OTEL_EXPORTER_OTLP_*` variables say; yield None if not wanted.

    A thread of the SDK sends them. Leaving takes 3 s at most to send what is left. Cancelling gives that up.

    Raises:
        SettingsError: traces are wanted, and the packages are not there.
    """
    if not settings.otel_traces:
        yield None
        return
    provider = _provider()
    logger.info("traces are sent with OpenTelemetry")
    try:
        yield Traces(provider.get_tracer("trio_chat", version("trio-chat")))
    finally:
        with trio.move_on_after(_FLUSH_SECONDS, shield=True):
            await trio.to_thread.run_sync(provider.shutdown, abandon_on_cancel=True)


def _provider() -> Any:
    # Here, since only who wants traces need have them installed.
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        raise SettingsError([_MISSING]) from None
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over this.
    ours = {"service.name": "trio-chat", "service.version": version("trio-chat")}
    resource = Resource.create(ours).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
