"""The protocol without I/O: no event loop, no gRPC, no clock, no logging. Time comes in as an argument, in seconds."""
