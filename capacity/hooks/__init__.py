"""Outbound webhooks: what the rooms' scripts wrote down is taken to the endpoints of the settings.

Imports store and below; knows no hub.
"""
