"""What a simulated camera looks at: the slide, and the optics in between."""
