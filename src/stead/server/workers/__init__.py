"""Clients' workers: processes that run functions and open files."""
