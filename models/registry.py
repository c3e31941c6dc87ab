"""Nets by name: each is a configuration over shared parts, so a new one is a line here."""

from typing import Final

from models.base import Net, Sizes
from models.cdn import (
    BilateralHeadConfig,
    ConstantAdapter,
    CumulativeAdapter,
    DesignConfig,
    ExpertItemsConfig,
    HeadTailConfig,
    MemGenConfig,
    UnbalancedBalancedConfig,
)
from models.context import FeedbackConfig, FieldsConfig, SessionConfig
from models.dat import AugmentedItemsConfig, AugmentedUsersConfig
from models.head import ClassBalancedHeadConfig, SingleHeadConfig, TwoStageHeadConfig
from models.ihm import HistoryItemsConfig
from models.items import IdItemsConfig, StaticItemsConfig
from models.mixed import MixedItemsConfig, MixingHeadConfig
from models.net import HeadConfig, ItemsConfig, Retrieval, RetrievalConfig, TrendConfig, build_items, build_users
from models.pair import PairUsersConfig
from models.rating import RatingNet
from models.recurrent import HierarchicalCellConfig, RecurrentUsersConfig
from models.sequence import SequenceUsersConfig

IHM: Final = HistoryItemsConfig(ids=False)
TREND: Final = TrendConfig(weight=1.0)


def _two_tower(head: HeadConfig | None = None, prior_weight: float = 0.0) -> RetrievalConfig:
    return RetrievalConfig(
        items=StaticItemsConfig(hidden=128),
        users=PairUsersConfig(),
        head=head or SingleHeadConfig(),
        loss="in_batch_softmax",
        prior_weight=prior_weight,
    )


def _sequential(items: ItemsConfig, head: HeadConfig, trend: TrendConfig | None = None) -> RetrievalConfig:
    """On the SASRec backbone."""
    return RetrievalConfig(
        items=items, users=SequenceUsersConfig(), head=head, trend=trend or TrendConfig(), loss="sampled_softmax"
    )


def _cdn(design: DesignConfig | None = None, head: BilateralHeadConfig | None = None) -> RetrievalConfig:
    return _sequential(ExpertItemsConfig(design=design or MemGenConfig()), head or BilateralHeadConfig())


def _dat(items: IdItemsConfig | StaticItemsConfig | HistoryItemsConfig, trend: TrendConfig) -> RetrievalConfig:
    return RetrievalConfig(
        items=AugmentedItemsConfig(inner=items),
        users=AugmentedUsersConfig(inner=SequenceUsersConfig()),
        trend=trend,
        loss="sampled_softmax",
    )


def _recurrent(users: RecurrentUsersConfig) -> RetrievalConfig:
    """Over item ids."""
    return RetrievalConfig(items=IdItemsConfig(), users=users, loss="sampled_softmax")


NETS: Final[dict[str, RetrievalConfig]] = {
    "two_tower": _two_tower(),
    "two_tower_class_balance": _two_tower(ClassBalancedHeadConfig()),
    "two_tower_logq_rebalance": _two_tower(prior_weight=1.0),
    "two_tower_ndp": _two_tower(TwoStageHeadConfig()),
    "two_tower_bbn": _two_tower(BilateralHeadConfig(adapter=CumulativeAdapter(), sample="reversed", served="average")),
    "sasrec": _sequential(IdItemsConfig(), SingleHeadConfig()),
    "cdn": _cdn(),
    "bdn": _cdn(head=BilateralHeadConfig(adapter=ConstantAdapter(), served="average")),
    "udn": _sequential(StaticItemsConfig(), BilateralHeadConfig()),
    "idn": _sequential(ExpertItemsConfig(), SingleHeadConfig()),
    "cdn_unbalanced_balanced": _cdn(UnbalancedBalancedConfig()),
    "cdn_head_tail": _cdn(HeadTailConfig()),
    "dat": _dat(StaticItemsConfig(), TrendConfig()),
    "ihm_sasrec": _sequential(IHM, SingleHeadConfig(), TREND),
    "ihm_cdn": _sequential(IHM, BilateralHeadConfig(), TREND),
    "ihm_dat": _dat(IHM, TREND),
    "gru": _recurrent(RecurrentUsersConfig()),
    "hrnn": _recurrent(RecurrentUsersConfig(session=SessionConfig())),
    "hgru": _recurrent(RecurrentUsersConfig(session=SessionConfig(), cell=HierarchicalCellConfig())),
    "hrnn_meta": RetrievalConfig(
        items=MixedItemsConfig(),
        users=RecurrentUsersConfig(
            session=SessionConfig(), profile=FieldsConfig(), request=FieldsConfig(), feedback=FeedbackConfig()
        ),
        head=MixingHeadConfig(),
        trend=TREND,
        loss="sampled_softmax",
    ),
}


def build_net(config: RetrievalConfig, sizes: Sizes) -> Net:
    """A freshly initialised net (from torch's global generator)."""
    if config.loss != "squared_error":
        return Retrieval(config, sizes)
    items = build_items(config.items, sizes, config.dim)
    return RatingNet(config.dim, items, build_users(config.users, sizes, config.dim, items.input_scale))
