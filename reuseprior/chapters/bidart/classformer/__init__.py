"""Bidart's chapter 5: where a text encoder can forget its sequence."""
