"""Where the trail can be sent: syslog over TLS, OpenTelemetry, Linux audit.

Each is a `stead.ledger.sinks.Sink`; `stead.server.sinks` makes them of URLs.
"""
