"""Warnings that are not repeated thousands of times."""

import logging

import pytest

from bitrouter.payments.alerts import Alerts


def test_alerts_of_one_kind_are_told_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    alerts = Alerts(30.0, lambda: now)

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            alerts.warn("one", "one: %s", "x" * 1000)
        alerts.error("other", "other")
        now += 31
        alerts.warn("one", "one: %s", "y")

    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told == [
        ("WARNING", "one: " + "x" * 200),
        ("ERROR", "other"),
        ("WARNING", "one: y (2 more like this were left out)"),
    ]
