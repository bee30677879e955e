"""The admin API, one module per resource: a pure function from the control plane to JSON, and its routes."""
