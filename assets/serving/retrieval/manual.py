"""The service's page for people: every operation of its OpenAPI document, as HTML that needs no file from elsewhere."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h2 { margin-top: 2rem; font-size: 1.1rem; } code { background: #f2f2f2; padding: .1rem .3rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; border-bottom: 1px solid #ddd; padding: .3rem; }
"""


def manual_page(document: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI document."""
    info = document["info"]
    sections = "".join(_sections(document))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
        f"<h1>{escape(info['title'])}</h1><p>{escape(info.get('description', ''))}</p>"
        f'<p>For programs: <a href="openapi.json">openapi.json</a>.</p>{sections}</body></html>'
    )


def _sections(document: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            token = " (with a bearer token)" if operation.get("security") else ""
            yield f"<h2><code>{method.upper()} {escape(path)}</code>{token}</h2>"
            yield f"<p>{escape(operation.get('description', ''))}</p>"
            rows = [*_parameters(operation), *_fields(document, operation)]
            if rows:
                yield f"<table><tr><th>name</th><th>what</th><th>bounds</th></tr>{''.join(rows)}</table>"


def _parameters(operation: Mapping[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        yield _row(parameter["name"], parameter.get("description", ""), parameter["schema"], parameter["required"])


def _fields(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[str]:
    """Fields of the JSON body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return
    schema = document["components"]["schemas"][content["schema"]["$ref"].rsplit("/", 1)[-1]]
    for name, field in schema["properties"].items():
        yield _row(name, field.get("description", ""), field, name in schema.get("required", ()))


BOUNDS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "default")


def _type(schema: Mapping[str, Any]) -> str:
    """What JSON type a value has; where it may be left out, which is ``null``, what it has if not."""
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    return " or ".join(kind.get("format", kind.get("type", "")) for kind in kinds)


def _row(name: str, description: str, schema: Mapping[str, Any], required: bool) -> str:
    bounds = [f"{bound} {schema[bound]}" for bound in BOUNDS if bound in schema]
    stated = ", ".join([_type(schema), "required" if required else "", *bounds]).strip(", ").replace(", ,", ",")
    return f"<tr><td><code>{escape(name)}</code></td><td>{escape(description)}</td><td>{escape(stated)}</td></tr>"
