"""The API's own page: the OpenAPI document for people to read, made here, with nothing to load from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from provisioner.http.api.problems import CURES, titles

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8886;--soft:#8882;--link:light-dark(#0a58ca,#8ab4f8)}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:62rem;padding:1rem}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}
a{color:var(--link)}code,pre{font:.9em/1.45 ui-monospace,monospace}
nav a{display:inline-block;margin:0 .8rem .3rem 0}
details{border:1px solid var(--line);border-radius:.4rem;margin:.4rem 0}
summary{cursor:pointer;padding:.4rem .6rem;overflow-wrap:anywhere}
details>div{padding:.2rem .8rem .8rem}
.m{display:inline-block;min-width:4.2rem;font-weight:700}
table{border-collapse:collapse;width:100%}
td,th{border-top:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top}
pre{background:var(--soft);padding:.6rem;overflow-x:auto;border-radius:.3rem}
"""


def headers() -> Mapping[str, str]:
    """What the pages go with: one style, and nothing else is fetched, run, framed or sent."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "private, no-cache",
    }


def page(document: Mapping[str, Any]) -> str:
    """Every operation, by noun."""
    about = "".join(f"<p>{_text(one)}</p>" for one in document["info"]["description"].split("\n\n"))
    nouns = "".join(f'<a href="#{escape(one["name"])}">{escape(one["name"])}</a>' for one in document["tags"])
    parts = "".join(_noun(document, one) for one in document["tags"])
    head = '<p><a href="/api/v1/openapi.json">openapi.json</a> is the same for programs.</p>'
    return _whole("The API of this server", f"{about}{head}<nav>{nouns}</nav>{parts}{_schemas(document)}")


def problem_page(kind: str) -> str | None:
    """What a kind of problem is; None when there is no such kind."""
    found = titles().get(kind)
    if found is None:
        return None
    title, status = found
    told = f"<p>{escape(title)}. It comes with the status {status}.</p><p>What to do: {_text(CURES[kind])}.</p>"
    return _whole(kind, told)


def _whole(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1><main>{body}</main></body></html>\n"
    )


def _text(text: str) -> str:
    """Plain text; what stands between backticks is code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{one}</code>" if place % 2 else one for place, one in enumerate(parts))


def _operations(document: Mapping[str, Any], noun: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            if noun in one["tags"]:
                yield method.upper(), path, one


def _noun(document: Mapping[str, Any], tag: Mapping[str, str]) -> str:
    rows = "".join(_operation(*one) for one in _operations(document, tag["name"]))
    name = escape(tag["name"])
    return f'<section id="{name}"><h2>{name}</h2><p>{_text(tag["description"])}</p>{rows}</section>'


def _operation(method: str, path: str, one: Mapping[str, Any]) -> str:
    told = f"<p>{_text(one.get('description', ''))}</p>" if one.get("description") else ""
    right = f"<p>Right: <code>{escape(one['x-right'])}</code></p>"
    return (
        f'<details id="{escape(one["operationId"])}"><summary><span class="m">{method}</span>'
        f"<code>{escape(path)}</code> "
        f"{_text(one['summary'])}</summary><div>{told}{right}{_parameters(one)}{_body(one)}{_answers(one)}</div></details>"
    )


def _parameters(one: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(it['name'])}</code></td><td>{escape(it['in'])}</td>"
        f"<td>{escape(kind_of(it['schema']))}</td><td>{_text(it.get('description', ''))}</td></tr>"
        for it in one["parameters"]
    )
    return f"<table><tr><th>parameter</th><th>in</th><th>type</th><th></th></tr>{rows}</table>" if rows else ""


def kind_of(schema: Mapping[str, Any]) -> str:
    """The type of a value in a word or two."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(kind_of(it) for it in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {kind_of(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any")


def _link(schema: Mapping[str, Any]) -> str:
    name = kind_of(schema.get("anyOf", [schema])[0])
    return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'


def _body(one: Mapping[str, Any]) -> str:
    if "requestBody" not in one:
        return ""
    content = one["requestBody"]["content"]
    if len(content) > 1:
        return f"<p>Takes {escape(', '.join(content))}</p>"
    return f"<p>Takes {_link(content['application/json']['schema'])}</p>"


def _answers(one: Mapping[str, Any]) -> str:
    told = []
    for status, answer in one["responses"].items():
        schema = answer.get("content", {}).get("application/json", {}).get("schema")
        told.append(f"{status}: {_link(schema)}" if schema else f"{status}")
    return f"<p>Answers {', '.join(told)}</p>"


def _schemas(document: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code> '
        f"{_text(schema.get('description', ''))}</summary>"
        f"<div><pre>{escape(json.dumps(schema, indent=1, ensure_ascii=False))}</pre></div></details>"
        for name, schema in document["components"]["schemas"].items()
    )
    return f'<section id="schemas"><h2>documents</h2>{rows}</section>'
