"""What stands in the column beside the picture. Panels know no threads: they tell, and are told."""
