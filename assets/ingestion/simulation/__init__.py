"""An engagement stream with a known truth, made day by day in bounded memory. Never evidence about real data.

Items belong to an author, and an author to a topic. They are born over time; their appeal is Zipf-distributed and their
popularity rises and fades with age like a gamma density, above a floor for the older part of the catalog. Users have a
taste over topics that wanders around that of their group, favour one author, and come in sessions with a daily and a
weekly rhythm. Topics come into and go out of fashion. A user does not engage with an item twice within
``repeat_memory_days``, and nobody engages with an item before its birth.

On ``shift_day`` the world may change at once: a share ``shift_size`` of the users gets tastes of new groups, and the
same share of the items trade their appeal, so that what a model learned of both is out of date from then on.

What a draw is decided by is a whole number: weights are rounded before they are cumulated, tastes are kept in single
precision, times are whole seconds. So the last bit of a logarithm or an exponential, which differs from one processor
to another, practically never reaches a result (``docs/simulator.md`` says what is guaranteed).

* :mod:`~assets.ingestion.simulation.world`: items and users, drawn once;
* :mod:`~assets.ingestion.simulation.draws`: weighted draws;
* :mod:`~assets.ingestion.simulation.seen`: which user has which item already;
* :mod:`~assets.ingestion.simulation.tastes`: what a user likes on a day;
* :mod:`~assets.ingestion.simulation.days`: the days, one after another;
* :mod:`~assets.ingestion.simulation.tables`: worlds and days as raw tables;
* :mod:`~assets.ingestion.simulation.write`: the same as a folder of Parquet part files.
"""
