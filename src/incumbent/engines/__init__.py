"""What keeps groups and cells. `api` is the protocol, `registry` finds an engine by URL, `conformance` defines one."""
