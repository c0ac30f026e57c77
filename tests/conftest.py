"""Fixtures every test can use. A group of fixtures lives in a module of its own and is only imported here."""

from __future__ import annotations
