"""Enhance: files and sessions in; pictures, nuclei and their measures out."""
