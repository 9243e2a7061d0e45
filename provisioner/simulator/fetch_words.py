"""What a fetch in a phone's place came to, as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.simulator.chain import Finding, Outcome
from provisioner.simulator.fetch_as import FetchReport

_SAYS = {
    Outcome.ACCEPTS: "the phone ACCEPTS the server's certificate",
    Outcome.REFUSES: "the PHONE REFUSES the server's certificate",
    Outcome.DEPENDS: "it DEPENDS: the phone refuses the server's certificate if what is not known of it is so",
    Outcome.NOT_KNOWN: "NOT KNOWN: nothing speaks against the chain, and whether the phone holds its root nobody here"
    " knows (--roots names the phone's own)",
}


def as_text(report: FetchReport) -> str:
    """Who asked, what the server showed, the verdict on it, each request, and how it ended."""
    return "\n".join([*_head(report), *_chain(report), *_requests(report), *_end(report)])


def _head(report: FetchReport) -> Iterator[str]:
    mac = ":".join(report.mac[i : i + 2] for i in range(0, 12, 2))
    store = report.store
    yield f"{report.vendor} {report.model} {mac} at {report.url}"
    yield f"  User-Agent   {report.agent}"
    yield f"  certificate  {report.certificate or 'presents none: it takes a factory key (--cert, --key)'}"
    yield f"  TLS          offers {report.offered}, agreed {report.tls or 'none'}; its suites are not known"
    yield f"  trusts       {report.trusts} [{store.label}{': ' + store.source if store.source else ''}]"
    yield f"  names        {store.names}"
    if store.clock:
        yield f"  clock        {store.clock}"
    yield f"  keys, hashes {store.newest}"


def _chain(report: FetchReport) -> Iterator[str]:
    if report.verdict is None:
        return
    yield ""
    for one in report.sent:
        strength = ", ".join(filter(None, (one.key, one.hash)))
        yield f"  {one.place}  {one.subject}, issued by {one.issuer}"
        yield f"     valid {one.valid}, {strength}, SHA-256 {one.sha256[:16]}"
    if report.verdict.anchor:
        yield f"  ends at {report.verdict.anchor}, which the phone trusts"
    yield ""
    yield f"  {_SAYS[report.verdict.outcome]}"
    yield from (f"    {_finding(one)}" for one in report.verdict.findings)


def _finding(one: Finding) -> str:
    which = f"certificate {one.place}, {one.subject}" if one.place else one.subject or "the chain"
    return f"{one.fault.value.replace('_', ' ')}: {which}: {one.why}{'' if one.sure else ' [not sure]'}"


def _requests(report: FetchReport) -> Iterator[str]:
    if not report.asked:
        return
    rows = [("method", "path", "status", "bytes", "md5", "the phone")]
    rows += [
        (
            one.method, one.path, str(one.status or "-"), str(one.bytes), one.md5[:8] or "-",
            one.does + (f"; FAULT {one.fault}" if one.fault else "") + (f"; ETag {one.etag}" if one.etag else ""),
        )
        for one in report.asked
    ]  # fmt: skip
    width = max(len(row[1]) for row in rows)
    yield ""
    for method, path, status, size, md5, does in rows:
        yield f"  {method:<6} {path:<{width}} {status:>6} {size:>8}  {md5:<8}  {does}"


def _end(report: FetchReport) -> Iterator[str]:
    yield ""
    if report.ends:
        yield f"  not served: {report.ends}"
    elif report.asked:
        yield f"  served; {report.lines} line{'' if report.lines == 1 else 's'} would register"
    yield from (f"  note: {text}" for text in report.notes)
