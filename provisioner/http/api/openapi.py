"""The OpenAPI 3.1 document of the API, made from the table of routes and the models; nothing is written by hand."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from provisioner import __version__
from provisioner.http.api.gatekeeper import COOKIES, CSRF
from provisioner.http.api.problems import MEDIA, Problem, titles
from provisioner.http.api.routes import Route, Table

Document = dict[str, Any]

_REF: Final = "#/components/schemas/"
_ALWAYS: Final = (400, 401, 403, 404, 409, 413, 422, 429, 500, 503)
_CHANGING: Final = (412, 415, 428)
_SPARSE: Final = "Sparse"
_ABOUT: Final = (
    "The administration of a provisioning server. Who asks sends a key (`Authorization: Bearer KEY`) or the cookie of "
    "a session, whose changes need its `" + CSRF + "` as well; each route needs one right, and reaches no further than "
    "the caller holds it.\n\n"
    "Every change may carry an `Idempotency-Key`: sent again within a day it is answered again, and done once. What is "
    "there already is changed with `If-Match`, its ETag. Lists are turned by `cursor`; `fields` leaves the rest out. "
    "What goes wrong is told as RFC 9457 has it, with its cause and its cure."
)


class Schemas:
    """Every model once, by name."""

    def __init__(self, table: Table) -> None:
        wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "serialization"): None}
        for route in table.rows:
            wanted[route.query, "validation"] = None
            if route.body is not None:
                wanted[route.body, "validation"] = None
            if route.told is not None:
                wanted[route.told, "serialization"] = None
        refs, found = models_json_schema(list(wanted), ref_template=f"{_REF}{{model}}")
        self._refs = {key: str(ref["$ref"]).removeprefix(_REF) for key, ref in refs.items()}
        self._all: Document = found["$defs"]
        queries = {self._refs[route.query, "validation"] for route in table.rows}
        self.components: Document = {name: one for name, one in self._all.items() if name not in queries}

    def ref(self, model: type[BaseModel], mode: JsonSchemaMode) -> Document:
        """Where its schema stands."""
        return {"$ref": _REF + self._refs[model, mode]}

    def properties(self, query: type[BaseModel]) -> Document:
        """What may stand behind the question mark."""
        properties: Document = self._all[self._refs[query, "validation"]].get("properties", {})
        return properties

    def sparse(self, model: type[BaseModel], *, page: bool) -> Document:
        """The same with any of its fields left out; of a page, of each of its rows."""
        name = self._refs[model, "serialization"]
        if not page:
            return {"$ref": _REF + self._thin(name)}
        whole = copy.deepcopy(self._all[name])
        row = str(whole["properties"]["items"]["items"]["$ref"]).removeprefix(_REF)
        whole["properties"]["items"]["items"] = {"$ref": _REF + self._thin(row)}
        self.components.setdefault(name + _SPARSE, {**whole, "title": name + _SPARSE})
        return {"$ref": _REF + name + _SPARSE}

    def _thin(self, name: str) -> str:
        thin = {key: value for key, value in self._all[name].items() if key != "required"}
        about = "With `fields`: only those that were asked for"
        self.components.setdefault(name + _SPARSE, {**thin, "title": name + _SPARSE, "description": about})
        return name + _SPARSE


def document(table: Table) -> Document:
    """The whole document."""
    schemas = Schemas(table)
    paths: Document = {}
    for route in table.rows:
        paths.setdefault(route.full_path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Provisioning server",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {"session": []}],
        "tags": [{"name": one.noun, "description": one.says} for one in table.nouns],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "responses": {str(status): _problem(schemas, status) for status in sorted({*_ALWAYS, *_CHANGING})},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIES[0]},
            },
        },
    }


def _operation(route: Route, schemas: Schemas) -> Document:
    first, _, rest = route.says.partition(". ")
    found: Document = {
        "operationId": route.name,
        "tags": [route.noun],
        "summary": first.rstrip("."),
        "description": rest,
        "x-right": route.right.value,
        "parameters": list(_parameters(route, schemas)),
        "responses": _responses(route, schemas),
    }
    if route.body is not None:
        needed = any(one.is_required() for one in route.body.model_fields.values())
        content = {"application/json": {"schema": schemas.ref(route.body, "validation")}}
        found["requestBody"] = {"required": needed, "content": content}
    if route.takes:
        found["requestBody"] = {"required": True, "content": {one: {"schema": _raw(one)} for one in route.takes}}
    return {name: value for name, value in found.items() if value != ""}


def _raw(media: str) -> Document:
    """A body that is a file, or a form with files."""
    if media != "multipart/form-data":
        return {} if media == "application/json" else {"type": "string"}
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    return {"type": "object", "properties": {"file": {"type": "array", "items": file}}, "required": ["file"]}


def _parameters(route: Route, schemas: Schemas) -> Iterator[Document]:
    for place in route.places:
        yield {"name": place, "in": "path", "required": True, "schema": _place(place)}
    for name, schema in schemas.properties(route.query).items():
        plain = {key: value for key, value in schema.items() if key not in ("title", "description")}
        yield {"name": name, "in": "query", "description": schema.get("description", ""), "schema": _asked(plain)}
    yield from _headers(route)


def _asked(schema: Document) -> Document:
    """Nothing behind the question mark is null: it is left out."""
    kinds = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return kinds[0] if len(kinds) == 1 else {key: value for key, value in schema.items() if value is not None}


def _place(name: str) -> Document:
    if name == "mac":
        return {"type": "string", "pattern": "^([0-9a-fA-F]{2}[:-]?){5}[0-9a-fA-F]{2}$"}
    if name == "line":
        return {"type": "integer", "minimum": 1, "maximum": 999}
    if name in ("message", "event", "posted"):
        return {"type": "integer", "minimum": 1}
    return {"type": "string", "minLength": 1, "maxLength": 254}


def _headers(route: Route) -> Iterator[Document]:
    text = {"type": "string", "maxLength": 255, "pattern": "^[!-~]+$"}
    if route.changes:
        about = "Sent again with the same request within a day, it gets the same answer"
        yield {"name": "Idempotency-Key", "in": "header", "description": about, "schema": text}
    tags = {"type": "string", "pattern": r'^(\*|"[!#-~]{1,64}")$'}
    if route.version is not None:
        about = "The ETag of what is to be changed, or `*` for whatever is there"
        needed = route.must_match and route.method != "PUT"
        yield {"name": "If-Match", "in": "header", "description": about, "required": needed, "schema": tags}
    elif route.tagged and not route.changes:
        about = "An ETag that is known already: 304 while nothing has changed"
        yield {"name": "If-None-Match", "in": "header", "description": about, "schema": tags}
    if route.media == "text/event-stream":
        number = {"type": "integer", "minimum": 0}
        about = "Go on behind the event with this number"
        yield {"name": "Last-Event-ID", "in": "header", "description": about, "schema": number}


def _responses(route: Route, schemas: Schemas) -> Document:
    found: Document = {str(route.status): _good(route, schemas)}
    if route.tagged and not route.changes:
        found["304"] = {"description": "It has not changed"}
    for status in (*_ALWAYS, *(_CHANGING if route.changes else ())):
        found[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return found


def _good(route: Route, schemas: Schemas) -> Document:
    if route.media != "application/json":
        return {"description": "As it happens", "content": {route.media: {"schema": {"type": "string"}}}}
    if route.told is None:
        return {"description": "Done"}
    schema = schemas.ref(route.told, "serialization")
    if "fields" in route.query.model_fields:
        schema = {"anyOf": [schema, schemas.sparse(route.told, page=route.lists)]}
    headers = {"ETag": {"schema": {"type": "string"}}} if route.tagged else {}
    headers |= {"Location": {"schema": {"type": "string"}}} if route.made_at else {}
    told: Document = {"description": "Done", "content": {"application/json": {"schema": schema}}}
    return {**told, "headers": headers} if headers else told


def _problem(schemas: Schemas, status: int) -> Document:
    kinds: Mapping[str, tuple[str, int]] = titles()
    names = sorted(kind for kind, (_, its) in kinds.items() if its == status)
    content = {MEDIA: {"schema": schemas.ref(Problem, "serialization")}}
    return {"description": ", ".join(f"`{one}`" for one in names) or "Problem", "content": content}
