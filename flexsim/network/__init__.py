"""The network level: communication tasks as flows that hold or share the links of their routes."""
