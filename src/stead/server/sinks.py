"""Sinks of a server: made of URLs, run by pumps, and what they tell is recorded.

    ProtectedServer("notes", "notes.db", sinks=["syslog+tls://logs.example?ca=ca.pem"])

A URL names files, never a secret: keys and tokens stand in files of their own.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from stead.adapters.sinks import linux_audit, syslog
from stead.adapters.sinks.connecting import read_private, tls_context
from stead.errors import InvalidRequestError, SinkUnavailableError
from stead.ledger.export_syslog import DOCUMENTATION, LARGEST, SMALLEST
from stead.ledger.exporting import Origin
from stead.ledger.pump import Pump
from stead.ledger.sinks import News, NewsKind, Pace, Sink, SinkStore
from stead.model.arguments import require_callable
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject

MakeSink = Callable[[Origin], Sink]

_EVENTS: Final = {
    NewsKind.DOWN: AuditEvent.SINK_DOWN,
    NewsKind.UP: AuditEvent.SINK_UP,
    NewsKind.BEGAN_ANEW: AuditEvent.SINK_BEGAN_ANEW,
    NewsKind.NOT_SENT: AuditEvent.RECORDS_NOT_SENT,
}
_TLS: Final = frozenset({"ca", "cert", "key", "name"})
_KNOWN: Final = {
    "syslog+tls": _TLS | {"largest", "enterprise"},
    "otlp+https": _TLS | {"token"},
    "otlp+http": frozenset({"name"}),
    "linux-audit": frozenset({"name"}),
}
_LARGEST_MESSAGE: Final = 1 << 20


class Pumps:
    """The pumps of one server, one for each sink.

    Made before the ledger is opened, so that they close after it: the last records are
    sent too, if a sink takes them in time.
    """

    def __init__(self) -> None:
        self._pumps: list[Pump] = []

    def start(
        self,
        sinks: Sequence[Sink],
        store: SinkStore,
        guard: Guard,
        subject: Subject,
        pace: Pace | None = None,
    ) -> None:
        """Start a pump for each sink, on this thread's credentials."""
        for sink in sinks:
            pump = Pump(
                sink,
                store,
                tell=partial(_tell, guard, subject),
                unreadable=partial(_unreadable, subject.principal, guard.clock),
                monotonic=time.monotonic,
                worked=time.thread_time,
                pace=pace,
            )
            self._pumps.append(pump)
            pump.start()

    def close(self) -> None:
        """End them all; what is left is sent when a server next has these sinks."""
        for pump in self._pumps:
            pump.end_soon()
        for pump in self._pumps:
            pump.close()


def make_sinks(sinks: Collection[str | MakeSink], origin: Origin) -> list[Sink]:
    """Return the sinks that URLs name, or that functions make.

    Raises:
        InvalidRequestError: a URL is not understood, or two sinks have one name.
        SinkUnavailableError: a file that a URL names cannot be used, or a library for
            it is missing. That nobody answers at its other end is no error here.
        UnsafeConfigurationError: somebody else may read a file of secrets.
    """
    made = [_made(sink, origin) for sink in sinks]
    names = [sink.name for sink in made]
    if len(set(names)) != len(names):
        raise InvalidRequestError(
            "two sinks have one name", advice="tell them apart by `?name=`"
        )
    return made


def export_origin(domain: str) -> Origin:
    """Return where a store's trail is: this machine, this version of Stead."""
    return Origin(socket.gethostname(), domain, version("stead"))


def read_sink(url: str, origin: Origin) -> Sink:
    """Return the sink that a URL names.

    - `syslog+tls://HOST[:6514]?ca=FILE&cert=FILE&key=FILE&largest=BYTES&enterprise=N`
    - `otlp+https://HOST[:4318][/v1/logs]?ca=FILE&cert=FILE&key=FILE&token=FILE`
    - `otlp+http://...`, to this machine only
    - `linux-audit`

    Each takes `name=`, under which it is known from then on.

    Raises:
        InvalidRequestError, SinkUnavailableError, UnsafeConfigurationError: see
            `make_sinks`.
    """
    try:
        kind, mark, options_text = url.partition("?")
        parts = urlsplit(url if "://" in kind else f"{kind}://{mark}{options_text}")
        place = (parts.hostname or "", parts.port)
    except ValueError:
        raise InvalidRequestError(f"`{url[:200]}` is no URL of a sink") from None
    options = _options(parts)
    scheme = parts.scheme
    if scheme == "linux-audit":
        if place[0] or parts.path:
            raise InvalidRequestError("`linux-audit` is this machine's, and no other's")
        return linux_audit.LinuxAuditSink(origin=origin, name=options.get("name", ""))
    if not place[0]:
        raise InvalidRequestError(f"`{scheme}` names no host")
    if scheme == "syslog+tls":
        return _syslog(place, options, origin)
    return _otlp(parts, place, options, origin)


def _made(sink: str | MakeSink, origin: Origin) -> Sink:
    if isinstance(sink, str):
        return read_sink(sink, origin)
    require_callable("sink", sink, "a URL, or a function that makes one")
    return sink(origin)


def _options(parts: SplitResult) -> dict[str, str]:
    known = _KNOWN.get(parts.scheme)
    if known is None:
        raise InvalidRequestError(
            f"`{parts.scheme[:80]}` is no kind of sink",
            advice=f"there are {', '.join(sorted(_KNOWN))}",
        )
    if parts.username is not None or parts.password is not None:
        # It would be in the process list and in the trail, under the sink's name.
        raise InvalidRequestError(
            "a sink's URL holds no secret",
            advice="name a file: `cert` with `key`, or `token`",
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - known)
    if unknown or parts.fragment:
        raise InvalidRequestError(
            f"`{parts.scheme}` has no option `{(unknown or [parts.fragment])[0][:80]}`",
            advice=f"there are {', '.join(sorted(known))}",
        )
    return options


def _syslog(
    place: tuple[str, int | None], options: dict[str, str], origin: Origin
) -> Sink:
    host, port = place
    largest = _number(options, "largest", LARGEST, SMALLEST, _LARGEST_MESSAGE)
    return syslog.SyslogSink(
        host,
        port or syslog.PORT,
        origin=origin,
        context=tls_context(*_files(options)),
        largest=largest,
        enterprise=_number(options, "enterprise", DOCUMENTATION, 1, (1 << 31) - 1),
        name=options.get("name", ""),
    )


def _otlp(
    parts: SplitResult,
    place: tuple[str, int | None],
    options: dict[str, str],
    origin: Origin,
) -> Sink:
    try:
        from stead.adapters.sinks import otlp  # noqa: PLC0415 - an extra's
    except ModuleNotFoundError as missing:
        raise SinkUnavailableError(
            f"OpenTelemetry needs the library `{missing.name}`",
            advice="pip install 'stead[otel]'",
        ) from missing
    host, port = place
    is_plain = parts.scheme == "otlp+http"
    if is_plain and not _is_here(host):
        raise InvalidRequestError(
            "without TLS, records go to a receiver on this machine only",
            advice="use `otlp+https`, or 127.0.0.1",
        )
    token = Path(options["token"]) if "token" in options else None
    if token is not None:
        read_private(token)  # a file that cannot be used is told now
    return otlp.OtlpSink(
        host,
        port or otlp.PORT,
        origin=origin,
        context=None if is_plain else tls_context(*_files(options)),
        path=parts.path if parts.path not in {"", "/"} else otlp.PATH,
        token=None if token is None else partial(read_private, token),
        name=options.get("name", ""),
    )


def _files(options: dict[str, str]) -> tuple[Path | None, Path | None, Path | None]:
    ca, cert, key = (
        Path(options[name]) if name in options else None
        for name in ("ca", "cert", "key")
    )
    if key is not None and cert is None:
        raise InvalidRequestError("a key needs its certificate", advice="add `cert=`")
    return ca, cert, key


def _number(
    options: dict[str, str], name: str, otherwise: int, least: int, most: int
) -> int:
    text = options.get(name)
    if text is None:
        return otherwise
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    if not is_number or not least <= int(text) <= most:
        raise InvalidRequestError(f"`{name}` is a number from {least} to {most}")
    return int(text)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tell(guard: Guard, subject: Subject, news: News) -> None:
    """Queue a record of what a pump tells; nobody waits for it."""
    is_good = news.kind is NewsKind.UP
    detail = {"sink": news.sink, "records": str(news.count)}
    error = None if is_good else SinkUnavailableError(news.because)
    guard.recorder.queue(_EVENTS[news.kind], subject, None, error=error, detail=detail)


def _unreadable(server: Principal, clock: Callable[[], int], why: str) -> AuditRecord:
    """Make what is sent in place of an entry that is no record."""
    return AuditRecord(
        event=AuditEvent.RECORD_UNREADABLE,
        outcome=Outcome.FAILURE,
        time=clock(),
        server=server,
        chain=(server,),
        reasons=(why[:2048],),
    )
