"""``flexsim schema``: what a scenario file may hold, for editors and other tools."""

from __future__ import annotations

import json


def schema_command() -> None:
    """Print the JSON Schema of a scenario file."""
    from flexsim.scenario.schema import Scenario

    print(json.dumps(Scenario.model_json_schema(), indent=2))
