"""Where frames come from: a stand that can be lost and opened again, or what was recorded."""
