"""Telephony device provisioning: a phone proves its factory certificate and gets exactly its own configuration."""

__version__ = "0.1.0"
