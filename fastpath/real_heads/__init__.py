"""Attention on real heads, fast and certified afterwards."""
