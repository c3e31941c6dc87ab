"""Errors of landed files."""

from assets.ingestion.errors import IngestionError


class LandingError(IngestionError):
    """A landed file cannot be used; the message says why, and the file goes to the quarantine."""


class UnfinishedError(LandingError):
    """Somebody is still writing the file: it is read again later."""
