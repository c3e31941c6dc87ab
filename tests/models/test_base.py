"""Configurations and batches."""

import pytest
import torch
from pydantic import ValidationError

from models.base import OOV, PADDING, NetConfig
from tests.models.support import HISTORIES, USER_HISTORIES, item_inputs, train_batch, user_inputs


class DepthConfig(NetConfig):
    depth: int = 2


def test_configurations_reject_unknown_keys_and_changes() -> None:
    with pytest.raises(ValidationError, match="width"):
        DepthConfig(width=3)  # type: ignore[call-arg]
    config = DepthConfig(depth=3)
    with pytest.raises(ValidationError, match="frozen"):
        config.depth = 4  # type: ignore[misc]


def test_inputs_count_their_rows() -> None:
    assert len(item_inputs()) == len(HISTORIES)
    assert len(user_inputs(USER_HISTORIES)) == len(USER_HISTORIES)


def test_padding_is_no_id() -> None:
    assert PADDING < OOV == 0


def test_batches_move_to_a_device_as_one() -> None:
    """Nested batches, dictionaries of features, and what is no tensor."""
    batch = train_batch()
    moved = batch.to(torch.device("meta"), non_blocking=True)
    assert type(moved) is type(batch)
    for tensor in (
        moved.targets,
        moved.items.ids,
        moved.items.features["genre"],
        moved.items.history_users,
        moved.users.history,
        moved.users.features["age"],
    ):
        assert tensor.device.type == "meta"
    assert moved.candidates == batch.candidates
    assert batch.targets.device.type == "cpu"
