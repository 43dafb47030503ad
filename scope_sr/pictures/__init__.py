"""Picture files of any kind and size: whole, or by windows."""
