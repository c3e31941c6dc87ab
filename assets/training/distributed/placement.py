"""Where processes run, as Lightning is told: each on a node of its own, with one device.

Lightning takes ranks to be nodes times processes per node, so that every machine would have to run equally many.
Torchrun and Ray have given out ranks and connected the processes already; machines may run as many of them as they have
room for.
"""

from lightning.pytorch.plugins.environments import TorchElasticEnvironment


class OneEach(TorchElasticEnvironment):
    """The ranks that the environment names (RANK, WORLD_SIZE), a node for each."""

    def node_rank(self) -> int:
        return self.global_rank()

    def local_rank(self) -> int:
        """Place of the process's device among those that it takes, which is the only one."""
        return 0
