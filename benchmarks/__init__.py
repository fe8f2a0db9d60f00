"""Benchmarks against other programs: python -m benchmarks NAME"""
