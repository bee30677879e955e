"""What operators touch over HTTP: the admin API, the dashboard and the metrics."""
