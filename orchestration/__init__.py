"""The graph and the commands on it; importing this package makes Python collect cyclic garbage less often.

Loading the definitions makes 300,000 objects that stay; by default the collector walks them again and again. CPU
seconds of a load with collection as by default: 4.1 and 4.0; at every 50,000th object: 3.4 and 4.0 (a busy machine).
"""

import gc

gc.set_threshold(50_000, 10, 10)
