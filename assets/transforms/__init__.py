"""The dbt station's pure code: settings as dbt vars, the prepared manifest, the export of the warehouse's tables."""
