"""The served tiny dataset of the live path's tests, and ranks made by hand."""

from tests.assets.serving.live.conftest import live, served_home, trained_home, unbuilt

__all__ = ["live", "served_home", "trained_home", "unbuilt"]
