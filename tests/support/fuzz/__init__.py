"""Requests that no client should send, by the thousand, the same ones for the same seed."""
