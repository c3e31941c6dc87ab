"""Model selection: full ranking on the validation tail, the end of train time, by evaluation's own rules."""

from dataclasses import dataclass

import numpy as np

from assets import metrics
from assets.config import Protocol
from assets.ranking import Cases, Recommender, rank_cases
from assets.schema import ItemEmbeddings, UserHistory
from assets.stream import DatasetTables, start_of_day
from assets.training.counting import CountAll, CountingRecommender

MAX_CASES = 5000
K = 10
NDCG = f"ndcg@{K}"
HIT_RATE = f"hr@{K}"
LOG_LIKELIHOOD = "log_likelihood"
ROLLING_REFRESHED = Protocol(user_history=UserHistory.ROLLING, item_embeddings=ItemEmbeddings.REFRESHED)


@dataclass(frozen=True)
class Validator:
    """The validation cases of one dataset; call it with a recommender.

    Attributes:
        past: tables without the future, see :func:`assets.training.past.before_cutoff`.
        cases: sampled validation engagements of users with history, without repeats.
    """

    past: DatasetTables
    cases: Cases

    def __call__(self, model: Recommender) -> dict[str, float]:
        """Mean NDCG@10 and HR@10, ties averaged, and the mean log likelihood of targets on the catalog, in nats.

        Rolling history, items refreshed at the start of each UTC day. The likelihood is NaN where no target is on the
        catalog at its refresh.
        """
        past = self.past
        # Every case has history, so the fallback ranks nothing; it is the cheapest recommender there is.
        fallback = CountingRecommender(CountAll(), 1.0, past.validation_start)
        ranks = rank_cases(
            model, fallback, self.cases, past.stream, past.catalog, ROLLING_REFRESHED, past.validation_start
        )
        likely = -ranks.nll[~np.isnan(ranks.nll)]
        return {
            NDCG: float(metrics.ndcg(ranks.above, ranks.tied, K).mean()),
            HIT_RATE: float(metrics.hit_rate(ranks.above, ranks.tied, K).mean()),
            LOG_LIKELIHOOD: float(likely.mean()) if len(likely) else np.nan,
        }


def validator(past: DatasetTables, seed: int, max_cases: int = MAX_CASES) -> Validator:
    """Draw at most ``max_cases`` validation cases, uniformly, with a generator of their own.

    Raises:
        ValueError: when the validation tail holds no case to rank.
    """
    stream = past.stream
    rows = np.flatnonzero(stream.timestamps >= past.validation_start)
    users, items, timestamps = stream.users[rows], stream.items[rows], stream.timestamps[rows]
    begins, ends = stream.history_bounds(users, timestamps)
    usable = ends > begins
    usable[stream.repeats(rows)] = False
    chosen = np.flatnonzero(usable)
    if len(chosen) == 0:
        raise ValueError(
            f"no engagement in the validation tail [{past.validation_start}, {past.cutoff}) is by a user with history:"
            " raise split.validation_fraction or use more data"
        )
    if len(chosen) > max_cases:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, max_cases, replace=False))
    instants = timestamps[chosen]
    return Validator(past, Cases(users[chosen], items[chosen], instants, start_of_day(instants)))
