"""Frozen values that all parts exchange: the desired whole, the world as observed, steps, and records.

Standard library only; no clock, no logging, no asyncio. Anything here may cross a process boundary as JSON.
"""
