"""The error of the ingestion station."""


class IngestionError(ValueError):
    """Source data cannot be used; the message names the file, row or column and what to do."""
