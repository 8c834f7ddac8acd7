"""Small tables of runs, written for tests."""

from pathlib import Path

PLAIN = {
    "row_id": "one",
    "source": "somebody (Table 1)",
    "gpu": "A100-SXM-80GB",
    "gpus": "8",
    "layers": "4",
    "hidden": "1024",
    "heads": "16",
    "seq": "512",
    "vocab": "51200",
    "tp": "2",
    "pp": "2",
    "dp": "",
    "mbs": "1",
    "gbs": "8",
    "precision": "fp16 mixed",
    "recompute": "full (uniform, every layer)",
    "schedule": "1f1b (DeepSpeed)",
    "software": "Megatron-DeepSpeed",
    "iter_time_s": "0.1",
    "other_metric": "",
    "notes": "",
}


def write_runs(path: Path, *rows: dict[str, str], columns: tuple[str, ...] = ()) -> Path:
    """Write rows that differ from a plain one in some cells; return the path."""
    named = columns or tuple(dict.fromkeys([*PLAIN, *(key for row in rows for key in row)]))
    lines = [",".join(named)]
    lines += [",".join(f'"{(PLAIN | row).get(name, "")}"' for name in named) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
