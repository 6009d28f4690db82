"""Capacity: seats, waiting rooms and live seat limits for webinar platforms."""

__version__ = "0.2.0"
