"""Replaying recorded traffic: the real engine and its rivals against the same requests in a simulated fleet."""
