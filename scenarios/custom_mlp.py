"""A model and a strategy of one's own: a small MLP on two hosts, cut in three ways.

Run it with ``python scenarios/custom_mlp.py``. The model is written with the operator kinds;
a strategy is nothing but a config an operator: degrees by dimension over an array of devices.
"""

import flexsim
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import LinearShape, gelu, linear, mean_loss

BATCH, HIDDEN, WIDE = 8192, 8192, 32768
ALL = [0, 1, 2, 3]


def two_layers() -> OperatorGraph:
    """Return x -> linear -> GELU -> linear -> loss: widths 8192, 32768, 8192."""
    builder = GraphBuilder("wide-mlp", precision="fp16")
    sizes = {"b": BATCH, "h": HIDDEN, "f": WIDE}
    x = builder.input("samples", (BATCH, HIDDEN), 2)
    widen = LinearShape(("b",), (("h",),), {"": (("f",),)}, sizes, constant_input=True)
    narrow = LinearShape(("b",), (("f",),), {"": (("h",),)}, sizes)
    (x,) = linear(builder, "widen", x, widen)
    x = gelu(builder, "gelu", x, (("b",), ("f",)), sizes)
    (x,) = linear(builder, "narrow", x, narrow)
    mean_loss(builder, "loss", x, sizes, (("b",), ("h",)))
    return builder.build(num_sequences=BATCH, tokens_per_sequence=1)


def strategy(name: str, **degrees: dict[str, int]) -> flexsim.Strategy:
    """Return the strategy that cuts each operator into ``degrees`` over all four devices."""
    configs = {
        operator: flexsim.ParallelConfig.from_degrees(cut, ALL) for operator, cut in degrees.items()
    }
    return flexsim.Strategy(name, configs)


def strategies() -> list[flexsim.Strategy]:
    """Return the samples cut, the parameters cut, and both at once."""
    batch = {"b": 4}
    pair = {"b": 2, "f": 2}
    whole = {"b": 2, "h": 2}
    return [
        strategy("data", widen=batch, gelu=batch, narrow=batch, loss=batch),
        strategy("columns, rows", widen={"f": 4}, gelu={"f": 4}, narrow={"f": 4}, loss={"h": 4}),
        strategy("both", widen=pair, gelu=pair, narrow=pair, loss=whole),
    ]


def main() -> None:
    """Simulate the three strategies and print what each costs."""
    devices = flexsim.load_device_graph("two-hosts-example")
    costs = flexsim.make_costs(devices, software="megatron-lm")
    model = two_layers()
    print(f"{model.num_parameters / 1e6:.0f} M parameters on {devices.num_devices} devices")
    print(f"{'strategy':15} {'iteration':>10} {'compute':>9} {'exposed communication':>22}")
    for each in strategies():
        metrics = flexsim.evaluate(model, each, devices, costs).metrics
        exposed_ms = 1e3 * sum(metrics["exposed_communication_s"].values())
        iteration_ms = 1e3 * metrics["iteration_time_s"]
        share = metrics["compute_fraction"]
        print(f"{each.name:15} {iteration_ms:7.1f} ms {share:8.1%} {exposed_ms:19.1f} ms")


if __name__ == "__main__":
    main()
