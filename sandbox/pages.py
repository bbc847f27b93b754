"""HTML pages: the template environment, and amounts as people read them."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

_environment = Environment(
    loader=PackageLoader("sandbox", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **context: object) -> str:
    """Fill a template; everything that comes from outside is escaped."""
    return _environment.get_template(template).render(**context)


def money(amount: int, currency: str) -> str:
    """Write subunits as people read them: 250000 NGN is ``NGN 2,500.00``."""
    return f"{currency} {amount // 100:,}.{amount % 100:02d}"
