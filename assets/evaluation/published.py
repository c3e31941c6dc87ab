"""Published figures, as data: what papers and the public reference code report, each with its source.

They stand beside ours only where the dataset is the same. Values are shares (the papers print percent or shares), or
perplexities.
"""

from collections.abc import Sequence
from typing import Final

from assets.evaluation.published_rows import (
    CDN_CELLS,
    FULL,
    HEAD,
    HELD_OUT_USERS,
    HRNN_CELLS,
    IHM_CELLS,
    LEAVE_ONE_OUT,
    OVERALL,
    QUANTILE,
    TAIL,
    Figure,
    PublishedRow,
    PublishedSeries,
    PublishedTable,
)
from assets.evaluation.sampled.cases import LEGACY
from assets.evaluation.slices import HIT_RATE, NDCG

IHM_PAPER: Final = "Zuo et al., KDD 2024"
CDN_PAPER: Final = "Zhang et al., KDD 2023"
HRNN_PAPER: Final = "Ma et al., KDD 2020"
REFERENCE_CODE: Final = "public reference code, run on this data"
TIME_TO_SPLIT: Final = "public repository time-to-split"

IHM_CONDITIONS: Final = (
    "median-time split, first of five windows; 100 negatives of the target's own bucket, tail: at most 10 train "
    "interactions"
)
CDN_CONDITIONS: Final = "leave-one-out, every item ranked; mean of 5 trials and its standard error"
HRNN_CONDITIONS: Final = (
    "80 % of the users train and validate, 20 % test; perplexity over an index space of {items:,} items; which "
    "engagements of the test users count, and how new ones enter their histories, is not said"
)
LAST_CONDITIONS: Final = (
    "held-out last items of test users, a GRU of 43 dimensions trained for 4 epochs; its NDCG column names no cut-off "
    "and is left out"
)
CODE_CONDITIONS: Final = (
    "sampled protocol of that code, window 0, one seed, d = 50, at most 50 history entries; popularity is counted "
    "before the cutoff, item histories run up to the case"
)


def _ihm(method: str, *values: float) -> PublishedRow:
    """A row of the IHM paper: overall, tail, head; HR@10 and NDCG@10 each."""
    return PublishedRow(method, {cell: Figure(value) for cell, value in zip(IHM_CELLS, values, strict=True)})


def _cdn(method: str, *values: tuple[float, float]) -> PublishedRow:
    """A row of the CDN paper in percent with standard errors: overall, head, tail; HR@50 and NDCG@50 each."""
    figures = [Figure(round(value / 100, 6), round(error / 100, 6)) for value, error in values]
    return PublishedRow(method, dict(zip(CDN_CELLS, figures, strict=True)))


def _code(method: str, *values: float | None) -> PublishedRow:
    """A row of the reference code's results, in the IHM paper's columns; None was not noted."""
    pairs = zip(IHM_CELLS, values, strict=True)
    return PublishedRow(method, {cell: Figure(value) for cell, value in pairs if value is not None})


def _ihm_table(number: int, dataset: str, *rows: PublishedRow) -> PublishedTable:
    return PublishedTable(f"{IHM_PAPER}, Table {number}", dataset, LEGACY, IHM_CONDITIONS, rows)


def _cdn_table(number: int, dataset: str, head: str, *rows: PublishedRow) -> PublishedTable:
    conditions = f"{CDN_CONDITIONS}; head: {head} most frequent items"
    return PublishedTable(f"{CDN_PAPER}, Table {number}", dataset, LEAVE_ONE_OUT, conditions, rows)


def _hrnn_table(number: int, dataset: str, conditions: str, rows: dict[str, float]) -> PublishedTable:
    """A table of the HRNN-meta paper: its column of perplexities."""
    (cell,) = HRNN_CELLS
    held = [PublishedRow(method, {cell: Figure(value)}) for method, value in rows.items()]
    return PublishedTable(f"{HRNN_PAPER}, Table {number}", dataset, HELD_OUT_USERS, conditions, held)


_CDN_ML_1M: Final = _cdn("CDN", (26.75, 0.12), (7.93, 0.04), (36.46, 0.14), (10.97, 0.04), (11.51, 0.18), (3.15, 0.08))
_TWO_TOWER_ML_1M: Final = _cdn(
    "Two-tower", (24.68, 0.16), (7.29, 0.06), (33.83, 0.39), (10.06, 0.14), (10.32, 0.50), (2.96, 0.14)
)

TABLES: Final[Sequence[PublishedTable]] = (
    _ihm_table(
        1,
        "ml-1m",
        _ihm("SASRec", 0.1691, 0.0794, 0.1063, 0.0445, 0.1871, 0.0894),
        _ihm("CDN", 0.1534, 0.0718, 0.1142, 0.0501, 0.1646, 0.0780),
        _ihm("DAT", 0.1752, 0.0803, 0.1039, 0.0443, 0.1956, 0.0907),
        _ihm("IHM-SASRec", 0.1656, 0.0806, 0.1299, 0.0700, 0.1759, 0.0836),
        _ihm("IHM-CDN", 0.1928, 0.0806, 0.1457, 0.0623, 0.2063, 0.0859),
        _ihm("IHM-DAT", 0.1690, 0.0723, 0.1305, 0.0689, 0.1801, 0.0760),
    ),
    _ihm_table(
        2,
        "amazon-games",
        _ihm("SASRec", 0.1429, 0.0661, 0.1030, 0.0483, 0.1600, 0.0737),
        _ihm("CDN", 0.1401, 0.0658, 0.1093, 0.0518, 0.1539, 0.0720),
        _ihm("DAT", 0.1458, 0.0680, 0.1010, 0.0479, 0.1656, 0.0764),
        _ihm("IHM-SASRec", 0.1495, 0.0736, 0.1397, 0.0710, 0.1536, 0.0747),
        _ihm("IHM-CDN", 0.1549, 0.0721, 0.1310, 0.0623, 0.1653, 0.0763),
        _ihm("IHM-DAT", 0.1562, 0.0741, 0.1358, 0.0683, 0.1648, 0.0792),
    ),
    _ihm_table(
        2,
        "amazon-beauty",
        _ihm("SASRec", 0.1195, 0.0588, 0.1035, 0.0464, 0.1386, 0.0736),
        _ihm("CDN", 0.1096, 0.0550, 0.0963, 0.0459, 0.1251, 0.0658),
        _ihm("DAT", 0.1196, 0.0591, 0.1031, 0.0482, 0.1390, 0.0734),
        _ihm("IHM-SASRec", 0.1337, 0.0618, 0.1322, 0.0619, 0.1357, 0.0611),
        _ihm("IHM-CDN", 0.1477, 0.0666, 0.1566, 0.0708, 0.1369, 0.0615),
        _ihm("IHM-DAT", 0.1359, 0.0624, 0.1358, 0.0629, 0.1361, 0.0612),
    ),
    _ihm_table(
        2,
        "amazon-books",
        _ihm("SASRec", 0.1161, 0.0567, 0.1016, 0.0474, 0.1360, 0.0696),
        _ihm("CDN", 0.1179, 0.0556, 0.1078, 0.0499, 0.1316, 0.0632),
        _ihm("DAT", 0.1173, 0.0561, 0.1021, 0.0474, 0.1380, 0.0692),
        _ihm("IHM-SASRec", 0.1405, 0.0688, 0.1252, 0.0596, 0.1616, 0.0815),
        _ihm("IHM-CDN", 0.1416, 0.0677, 0.1321, 0.0626, 0.1546, 0.0748),
        _ihm("IHM-DAT", 0.1473, 0.0718, 0.1358, 0.0646, 0.1632, 0.0796),
    ),
    _cdn_table(
        2,
        "ml-1m",
        "20 %",
        _TWO_TOWER_ML_1M,
        _cdn("ClassBalance", (20.21, 0.17), (5.91, 0.06), (30.20, 0.20), (8.96, 0.09), (5.19, 0.16), (1.34, 0.03)),
        _cdn("LogQ", (13.37, 0.23), (3.50, 0.07), (10.75, 0.38), (2.62, 0.09), (17.30, 0.15), (4.81, 0.05)),
        _cdn("NDP", (14.72, 0.14), (4.28, 0.06), (14.92, 0.22), (4.20, 0.07), (14.41, 0.22), (4.41, 0.07)),
        _cdn("BBN", (16.18, 0.38), (4.84, 0.17), (22.55, 0.91), (6.89, 0.36), (6.19, 0.82), (1.61, 0.25)),
        _CDN_ML_1M,
    ),
    _cdn_table(
        3,
        "book-crossing",
        "0.1 %",
        _cdn("Two-tower", (2.32, 0.45), (0.81, 0.17), (19.76, 4.62), (7.58, 1.81), (0.72, 0.08), (0.19, 0.02)),
        _cdn("ClassBalance", (1.47, 0.32), (0.47, 0.10), (8.94, 2.46), (3.36, 0.88), (0.79, 0.13), (0.21, 0.04)),
        _cdn("LogQ", (1.27, 0.25), (0.37, 0.07), (5.39, 1.54), (1.76, 0.51), (0.89, 0.14), (0.24, 0.04)),
        _cdn("NDP", (1.58, 0.30), (0.42, 0.08), (7.24, 1.78), (1.94, 0.48), (1.06, 0.19), (0.43, 0.09)),
        _cdn("BBN", (0.80, 0.20), (0.20, 0.05), (2.62, 0.96), (0.66, 0.26), (0.63, 0.14), (0.16, 0.04)),
        _cdn("CDN", (2.52, 0.30), (0.82, 0.15), (21.18, 4.82), (7.42, 1.86), (0.81, 0.05), (0.22, 0.01)),
    ),
    _cdn_table(
        4,
        "ml-1m",
        "20 %",
        _TWO_TOWER_ML_1M,
        _cdn("BDN", (18.35, 0.21), (5.27, 0.06), (22.23, 0.37), (6.31, 0.11), (12.26, 0.17), (3.64, 0.04)),
        _cdn("UDN", (25.55, 0.08), (7.53, 0.03), (34.98, 0.11), (10.35, 0.06), (10.77, 0.13), (3.10, 0.03)),
        _cdn("IDN", (25.85, 0.15), (7.58, 0.05), (34.82, 0.21), (10.26, 0.08), (11.79, 0.22), (3.37, 0.08)),
        _CDN_ML_1M,
    ),
    _cdn_table(
        5,
        "ml-1m",
        "20 %",
        _cdn(
            "Unbalanced/Balanced",
            (25.89, 0.08),
            (7.59, 0.02),
            (34.69, 0.23),
            (10.16, 0.06),
            (12.09, 0.32),
            (3.57, 0.12),
        ),
        _cdn("Head/Tail", (25.25, 0.19), (7.48, 0.06), (34.64, 0.34), (10.36, 0.11), (10.52, 0.41), (2.97, 0.14)),
        PublishedRow("Mem/Gen", _CDN_ML_1M.cells),
    ),
    _hrnn_table(
        1,
        "ml-20m",
        HRNN_CONDITIONS.format(items=131_263),
        {
            "popularity": 2228,
            "item features of the last item only": 1342,
            "RNN": 447,
            "HRNN-meta (sequence, user, item, feedback)": 410,
        },
    ),
    *(
        _hrnn_table(8, dataset, LAST_CONDITIONS, {"GRU, importance-sampled softmax": sampled, "GRU, dense": dense})
        for dataset, sampled, dense in (("ml-1m", 377, 409), ("ml-10m", 405, 439), ("ml-20m", 455, 494))
    ),
    PublishedTable(
        REFERENCE_CODE,
        "ml-100k",
        LEGACY,
        CODE_CONDITIONS,
        (
            _code("random", 0.099, 0.045, 0.099, None, 0.099, None),
            _code("popularity (train)", 0.321, 0.203, 0.034, None, 0.577, None),
            _code("popularity (last 10 % of train time)", 0.561, 0.363, 0.445, 0.253, 0.664, 0.462),
            _code("SASRec (300 steps)", 0.291, 0.139, 0.078, 0.028, 0.481, 0.238),
            _code("SASRec, plain script (1,752 steps)", 0.235, 0.113, 0.108, 0.055, 0.348, 0.165),
            _code("IHM, H = 1", 0.195, 0.105, 0.180, 0.113, 0.209, 0.097),
            _code("IHM-CDN", 0.203, 0.099, 0.186, 0.107, 0.219, 0.092),
            _code("CDN", 0.158, 0.083, 0.180, 0.080, 0.139, 0.085),
            _code("DAT", 0.364, 0.188, 0.126, 0.048, 0.578, 0.314),
        ),
    ),
    PublishedTable(
        REFERENCE_CODE,
        "movietweetings-100k",
        LEGACY,
        CODE_CONDITIONS,
        (
            _code("random", 0.099, 0.045, 0.099, None, 0.099, None),
            _code("popularity (train)", 0.294, 0.166, 0.073, None, 0.459, None),
            _code("popularity (last 10 % of train time)", 0.388, 0.247, 0.080, None, 0.619, 0.401),
            _code("SASRec (360 steps)", 0.330, 0.185, 0.097, 0.045, 0.504, 0.290),
            _code("SASRec, plain script (1,863 steps)", 0.340, 0.207, 0.095, 0.052, 0.524, 0.324),
            _code("IHM, H = 1", 0.190, 0.092, 0.169, 0.075, 0.205, 0.105),
            _code("IHM-CDN", 0.191, 0.099, 0.171, 0.088, 0.205, 0.107),
            _code("CDN", 0.261, 0.142, 0.076, 0.038, 0.400, 0.219),
            _code("length of the item history as score (a shortcut)", 0.242, 0.112, 0.425, 0.197, 0.105, None),
        ),
    ),
    PublishedTable(
        REFERENCE_CODE,
        "ml-100k",
        FULL,
        "every item ranked with that code's models, window 0",
        (
            PublishedRow("SASRec", {(OVERALL, HIT_RATE, 10): Figure(0.040)}),
            PublishedRow("IHM, H = 1", {(OVERALL, HIT_RATE, 10): Figure(0.031)}),
            PublishedRow("popularity (last 10 % of train time)", {(OVERALL, HIT_RATE, 10): Figure(0.202)}),
        ),
    ),
    PublishedTable(
        REFERENCE_CODE,
        "movietweetings-100k",
        FULL,
        "every item ranked with that code's models, window 0",
        (
            PublishedRow("SASRec", {(OVERALL, HIT_RATE, 10): Figure(0.105)}),
            PublishedRow("IHM, H = 1", {(OVERALL, HIT_RATE, 10): Figure(0.060)}),
            PublishedRow("popularity (last 10 % of train time)", {(OVERALL, HIT_RATE, 10): Figure(0.176)}),
        ),
    ),
    *(
        PublishedTable(
            TIME_TO_SPLIT,
            dataset,
            QUANTILE,
            "global cut at the 0.9 quantile of time, successive evaluation, every item ranked, 5-core",
            (PublishedRow("SASRec, tuned", {(OVERALL, HIT_RATE, 10): Figure(hit), (OVERALL, NDCG, 10): Figure(gain)}),),
        )
        for dataset, gain, hit in (
            ("ml-1m", 0.1083, 0.198),
            ("amazon-beauty", 0.0278, 0.048),
            ("amazon-sports", 0.0301, 0.051),
        )
    ),
)

SERIES: Final[Sequence[PublishedSeries]] = (
    PublishedSeries(REFERENCE_CODE, "ml-100k", "IHM, H = 1", TAIL, (0.180, 0.158, 0.053, 0.100, 0.053)),
    PublishedSeries(REFERENCE_CODE, "movietweetings-100k", "IHM, H = 1", TAIL, (0.169, 0.162, 0.214, 0.137, 0.152)),
    PublishedSeries(REFERENCE_CODE, "ml-100k", "SASRec (300 steps)", HEAD, (0.481, 0.430, 0.378, 0.358, 0.323)),
    PublishedSeries(
        REFERENCE_CODE, "movietweetings-100k", "SASRec (360 steps)", HEAD, (0.504, 0.438, 0.401, 0.434, 0.451)
    ),
)


def published_tables(dataset: str, protocol: str) -> list[PublishedTable]:
    """The tables that may stand beside ours: of the same dataset and protocol; often none."""
    return [table for table in TABLES if (table.dataset, table.protocol) == (dataset, protocol)]


def published_series(dataset: str) -> list[PublishedSeries]:
    """Published figures per window of a dataset, under the reference code's protocol; often none."""
    return [series for series in SERIES if series.dataset == dataset]
