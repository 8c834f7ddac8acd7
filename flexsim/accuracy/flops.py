"""FLOPs of an iteration, as those who report TFLOP/s and utilization count them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, lru_cache

from flexsim.cost.profiles import load_device_profile
from flexsim.device_graph import load_device_graph
from flexsim.models import build_model, model_config
from flexsim.models.config import ModelConfig
from flexsim.models.selection import family_keys
from flexsim.scenario.prepare import setting_of, sizes_of
from flexsim.scenario.schema import Scenario


def model_flops(scenario: Scenario) -> float:
    """Return the FLOPs of a scenario's iteration without recomputation (MFU counts these)."""
    return scenario.training.global_batch * _of_a_sequence(_config(scenario))


def hardware_flops(scenario: Scenario) -> float:
    """Return the FLOPs with recomputation (HFU; Narayanan et al. 2021, equation 3).

    Full recomputation does the forward of the layers again; selective recomputation is counted
    as Korthikanti et al. 2022 do (arXiv 2205.05198, appendix A): 12 b s² h more a layer.
    """
    config, batch = _config(scenario), scenario.training.global_batch
    more = {"none": 0.0, "selective": _attention(config)}
    if scenario.training.recompute not in more:
        bare = replace(config, embedding_and_head=False)
        return model_flops(scenario) + batch * _of_a_sequence(bare) / 3
    return model_flops(scenario) + batch * more[scenario.training.recompute]


def tokens_of(scenario: Scenario) -> int:
    """Return the tokens of an iteration."""
    return scenario.training.global_batch * _config(scenario).sequence


def num_devices_of(scenario: Scenario) -> int:
    """Return the devices that a scenario is split over."""
    table = scenario.strategy
    if table.data is None:
        return sizes_of(scenario, setting_of(scenario)).num_devices
    return table.tensor * table.pipeline * table.data * table.context


def device_type_of(scenario: Scenario) -> str:
    """Return the name of the profile of a scenario's (first) device."""
    return _device_type(scenario.beside(scenario.cluster.device_graph))


def peak_flops_per_s(scenario: Scenario) -> float:
    """Return what all of a scenario's devices could do at most, in its precision."""
    profile = load_device_profile(device_type_of(scenario))
    return num_devices_of(scenario) * float(profile.peak_flops_per_s(scenario.training.precision))


@cache
def _device_type(graph: str) -> str:
    return load_device_graph(graph).device_types[0]


def _attention(config: ModelConfig) -> float:
    return 12.0 * config.layers * config.sequence**2 * config.heads * config.head_size


def _config(scenario: Scenario) -> ModelConfig:
    return model_config(scenario.model.name, scenario.model.preset, **scenario.model.sizes)


@lru_cache(maxsize=1024)
def _of_a_sequence(config: ModelConfig) -> float:
    """Return the FLOPs of a sequence; equal layers are built once and counted."""
    few = config.dense_layers + 2
    if "heads" not in family_keys(config.family) or config.load_imbalance or config.layers <= few:
        return float(build_model(config, 1, "fp16").flops)
    two, one = (_of_a_sequence(replace(config, layers=layers)) for layers in (few, few - 1))
    return two + (config.layers - few) * (two - one)
