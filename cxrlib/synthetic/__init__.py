"""Drawn radiographs: anatomy, phantoms, opacities."""
