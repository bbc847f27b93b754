"""What the control API can change while the sandbox runs, and how such a change is read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Literal, cast

from sandbox.cards import find_card
from sandbox.wire import Json, JsonObject

Schedule = Literal["live", "test"]


class InvalidSettingError(ValueError):
    """A control call asks for something that does not exist or makes no sense."""


@dataclass(frozen=True, slots=True)
class Autopay:
    """Pay every new transaction by itself, ``delay_ms`` of the clock after it was initialized."""

    card: str = "4084084084084081"
    delay_ms: int = 0
    amount: int | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class WebhookFaults:
    """What goes wrong with new deliveries; ``duplicate``, ``reorder`` and ``drop`` are probabilities."""

    duplicate: float = 0.0
    copies: int = 1
    reorder: float = 0.0
    reorder_max_ms: int = 10_000
    delay_ms: int = 0
    drop: float = 0.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The sandbox's behaviour.

    ``session_timeout_seconds`` of 0 means that checkout pages never expire. For ``verify_lag_ms`` after a
    payment, verify still calls it ongoing, as Paystack sometimes does while its webhook is out already.
    A refund above ``refund_balance`` is refused; None is enough money for all.
    """

    webhook_url: str | None = None
    webhook_schedule: Schedule = "live"
    autopay: Autopay | None = None
    rate_limits: Schedule | None = None
    webhook_faults: WebhookFaults = field(default_factory=WebhookFaults)
    session_timeout_seconds: int = 0
    verify_lag_ms: int = 0
    callback_url: str | None = None
    business_name: str = "Sandbox Merchant"
    unknown_reference_status: int = 400
    refund_processing_ms: int = 2_000
    refund_settling_ms: int = 3_000
    refund_balance: int | None = None
    partly_refunded_status: str = "success"
    services_know_all_users: bool = True

    def as_json(self) -> JsonObject:
        """Show the settings as the control API takes them."""
        return cast("JsonObject", asdict(self))


def changed(settings: Settings, change: JsonObject) -> Settings:  # noqa: C901 - one case per setting
    """Return the settings with the named ones replaced.

    Raises:
        InvalidSettingError: naming the setting that is unknown or has a value of the wrong kind.

    """
    for name, value in change.items():
        match name:
            case "webhook_url" | "callback_url":
                settings = replace(settings, **{name: _optional_url(name, value)})
            case "webhook_schedule":
                settings = replace(settings, webhook_schedule=_schedule(name, value))
            case "rate_limits":
                settings = replace(settings, rate_limits=None if value is None else _schedule(name, value))
            case "autopay":
                settings = replace(settings, autopay=None if value is None else _autopay(value))
            case "webhook_faults":
                settings = replace(settings, webhook_faults=_webhook_faults(value))
            case "session_timeout_seconds" | "verify_lag_ms" | "refund_processing_ms" | "refund_settling_ms":
                settings = replace(settings, **{name: whole(name, value)})
            case "business_name":
                settings = replace(settings, business_name=text(name, value))
            case "unknown_reference_status":
                if value not in (400, 404):
                    raise InvalidSettingError(f"{name} must be 400 or 404")
                settings = replace(settings, unknown_reference_status=whole(name, value))
            case "refund_balance":
                settings = replace(settings, refund_balance=None if value is None else whole(name, value))
            case "partly_refunded_status":
                if value not in ("success", "reversed"):
                    raise InvalidSettingError(f"{name} must be success or reversed")
                settings = replace(settings, partly_refunded_status=text(name, value))
            case "services_know_all_users":
                if not isinstance(value, bool):
                    raise InvalidSettingError(f"{name} must be true or false")
                settings = replace(settings, services_know_all_users=value)
            case _:
                raise InvalidSettingError(f"there is no setting {name}")
    return settings


def whole(name: str, value: Json) -> int:
    """Read a whole number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidSettingError(f"{name} must be a whole number, 0 or more")
    return value


def probability(name: str, value: Json) -> float:
    """Read a probability from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidSettingError(f"{name} must be a number from 0 to 1")
    return float(value)


def text(name: str, value: Json) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise InvalidSettingError(f"{name} must be a text")
    return value


def mapping(name: str, value: Json, *, keys: set[str]) -> JsonObject:
    """Read an object that has no other keys than these."""
    if not isinstance(value, dict):
        raise InvalidSettingError(f"{name} must be an object")
    if unknown := sorted(value.keys() - keys):
        raise InvalidSettingError(f"{name} has no {', '.join(unknown)}")
    return value


def known_card(name: str, value: Json) -> str:
    """Read the number of a test card."""
    number = text(name, value)
    if find_card(number) is None:
        raise InvalidSettingError(f"{name} must be one of the test cards")
    return number


def _optional_url(name: str, value: Json) -> str | None:
    if value is None:
        return None
    url = text(name, value)
    if not url.startswith(("http://", "https://")):
        raise InvalidSettingError(f"{name} must be an http or https URL")
    return url


def _schedule(name: str, value: Json) -> Schedule:
    if value == "live":
        return "live"
    if value == "test":
        return "test"
    raise InvalidSettingError(f'{name} must be "live" or "test"')


def _autopay(value: Json) -> Autopay:
    given = mapping("autopay", value, keys={"card", "delay_ms", "amount", "currency"})
    amount, currency = given.get("amount"), given.get("currency")
    return Autopay(
        card=known_card("autopay.card", given.get("card", "4084084084084081")),
        delay_ms=whole("autopay.delay_ms", given.get("delay_ms", 0)),
        amount=None if amount is None else whole("autopay.amount", amount),
        currency=None if currency is None else text("autopay.currency", currency),
    )


def _webhook_faults(value: Json) -> WebhookFaults:
    if value is None:
        return WebhookFaults()
    probabilities = {"duplicate", "reorder", "drop"}
    wholes = {"copies", "reorder_max_ms", "delay_ms"}
    result = WebhookFaults()
    for name, given in mapping("webhook_faults", value, keys=probabilities | wholes).items():
        label = f"webhook_faults.{name}"
        read = probability(label, given) if name in probabilities else whole(label, given)
        result = replace(result, **{name: read})
    return result
