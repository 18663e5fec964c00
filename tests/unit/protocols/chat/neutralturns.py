"""Turns of a request in the neutral form."""

from typing import Any

from bitrouter import ir


def said(*blocks: ir.Block) -> ir.Message:
    return ir.Message("assistant", [*blocks])


def told(*blocks: ir.Block) -> ir.Message:
    return ir.Message("user", [*blocks])


def call(call_id: str, name: str = "f", **more: Any) -> ir.ToolCall:
    return ir.ToolCall(call_id, name, more.pop("arguments", "{}"), **more)


def result(call_id: str, *content: ir.Text | ir.Media, **more: Any) -> ir.ToolResult:
    return ir.ToolResult(call_id, [*content], **more)
