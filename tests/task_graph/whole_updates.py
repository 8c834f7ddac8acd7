"""The merged update of a grown pipeline in one call: sketched, laid out, and put on its site."""

from flexsim.cost.costs import Costs
from flexsim.device_graph import DeviceGraph
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.strategy.sharding import Sharding
from flexsim.task_graph.growth import Grown
from flexsim.task_graph.merged_update import MergedUpdate, lay_out_update
from flexsim.task_graph.update_sketch import num_sketched, sketch_update


def build_merged_update(
    grown: Grown, whole: OperatorGraph, devices: DeviceGraph, costs: Costs, sharding: Sharding
) -> MergedUpdate | str:
    """Return the update of ``grown``, which has one stage a rank, or why parts cannot be merged.

    ``sharding`` says what replicas keep shares of.
    """
    site, layers = grown.site, grown.seed.num_blocks + grown.extra
    shape = num_sketched((site.num_ranks, site.num_replicas, layers), sharding)
    pricing = costs.compute, costs.software, devices.device_types[0]
    sketch = sketch_update(grown.seed, shape, whole, pricing, sharding)
    if isinstance(sketch, str):
        return sketch
    return lay_out_update(sketch, site.num_ranks).on(site)
